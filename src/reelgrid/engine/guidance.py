"""Classifier-free guidance with one forward pass of the network for both predictions.

Ho & Salimans 2022 (arXiv:2207.12598) needs the network twice per step, with and without the prompt.
For few tokens, one pass over a batch of both costs little more than one of either. Matrix products
of another shape round differently, so the result is equal up to rounding.
"""

from typing import Any

import torch
from diffusers.guiders.classifier_free_guidance import ClassifierFreeGuidance
from diffusers.modular_pipelines.modular_pipeline import BlockState, ModularPipeline
from torch import Tensor, nn

MAX_LATENT_NUMBERS = 2**17  # beyond this, one prediction already keeps the device busy

_DENOISERS = ("transformer", "transformer_2", "unet")


def batch_guidance(components: ModularPipeline) -> None:
    """Make the plain guiders among these components compute both predictions in one pass.

    Args:
        components: Those of one generation: its own guiders; its networks are wrapped.
    """
    guiders = [g for g in components.components.values() if type(g) is ClassifierFreeGuidance]
    for guider in guiders:
        guider.__class__ = PairedGuidance
        guider._paired = None
    for name in _DENOISERS if guiders else ():
        network = getattr(components, name, None)
        if network is not None:
            setattr(components, name, PairedNetwork(network))


class PairedGuidance(ClassifierFreeGuidance):
    """Plain guidance that gives both conditions to the network as one batch.

    `_paired` holds the names of the network's inputs that carry both; `None` when they are apart.
    """

    _paired: list[str] | None

    def prepare_inputs(self, data: dict[str, tuple[Tensor, Tensor]]) -> list[BlockState]:
        """Return one batch for both conditions where their shapes are equal, else one each."""
        return self._pair(super().prepare_inputs(data))

    def prepare_inputs_from_block_state(
        self, data: BlockState, input_fields: dict[str, Any]
    ) -> list[BlockState]:
        """Return one batch for both conditions where their shapes are equal, else one each."""
        return self._pair(super().prepare_inputs_from_block_state(data, input_fields))

    def prepare_models(self, denoiser: Any) -> None:
        """Tell the network which of its inputs carry both conditions."""
        super().prepare_models(denoiser)
        denoiser.paired = self._paired

    def __call__(self, data: list[BlockState]) -> Any:
        """Return the guided prediction."""
        if self._paired is None:
            return super().__call__(data)
        with_prompt, without = data[0].noise_pred.chunk(2)
        return self.forward(with_prompt, without)

    def _pair(self, batches: list[BlockState]) -> list[BlockState]:
        self._paired = None
        if len(batches) != 2:
            return batches
        with_prompt, without = (batch.as_dict() for batch in batches)
        names = [name for name in with_prompt if name != self._identifier_key]
        pairs = [(with_prompt[name], without.get(name)) for name in names]
        if not all(_can_stack(one, other) for one, other in pairs):
            return batches
        self._paired = names
        stacked = {n: torch.cat(pair) for n, pair in zip(names, pairs, strict=True)}
        return [BlockState(**with_prompt | stacked)]


class PairedNetwork:
    """Wraps a network: where some inputs carry both conditions, it doubles the others."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self.paired: list[str] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def __call__(self, *args: Any, **inputs: Any) -> Any:
        """Return the network's outputs: one batch where both conditions came in one."""
        if self.paired is None:
            return self._network(*args, **inputs)
        others = [*args, *(value for name, value in inputs.items() if name not in self.paired)]
        sizes = [each.numel() for each in others if isinstance(each, Tensor)]
        # Lists of tensors, and settings that may hold some, cannot be doubled.
        is_simple = all(isinstance(each, Tensor | bool | int | float | None) for each in others)
        if is_simple and max(sizes, default=0) <= MAX_LATENT_NUMBERS:
            single = inputs[self.paired[0]].shape[0] // 2
            doubled = {
                name: value if name in self.paired else _doubled(value, single)
                for name, value in inputs.items()
            }
            return self._network(*(_doubled(value, single) for value in args), **doubled)
        halves = [
            self._network(*args, **{**inputs, **{n: inputs[n].chunk(2)[i] for n in self.paired}})
            for i in (0, 1)
        ]
        return (torch.cat([half[0] for half in halves]),)


def _can_stack(one: Any, other: Any) -> bool:
    return (
        isinstance(one, Tensor)
        and isinstance(other, Tensor)
        and one.dim() > 0
        and one.shape == other.shape
        and one.dtype == other.dtype
    )


def _doubled(value: Any, single: int) -> Any:
    """Return a tensor of `single` examples repeated twice; anything else unchanged."""
    if isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == single:
        return torch.cat([value, value])
    return value
