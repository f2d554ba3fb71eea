"""A passage and its random numbers as trees of plain values and tensors, and back.

Kept are the values between blocks (prompt embeddings among them, so that no text encoder is needed
again), the values between steps, every field of the scheduler and the guider, and the random
numbers. Networks are only named. Files are the business of `state`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin
from diffusers.modular_pipelines.modular_pipeline import ModularPipeline
from torch import nn

from reelgrid.engine.encoding import Decoder, Encoder, Tensors, UnencodableError
from reelgrid.engine.hook import Passage
from reelgrid.engine.randomness import Randomness
from reelgrid.errors import GenerationError

_CONFIG_FIELD = "_internal_dict"


def take_apart(passage: Passage, randomness: Randomness) -> tuple[dict[str, Any], Tensors]:
    """Return everything that the next step depends on, as JSON trees and their tensors.

    Raises:
        GenerationError: A block keeps something that has no form in a file.
    """
    block_state = passage.block_state
    parts = {
        "values": passage.state.values,
        "kwargs": passage.state.kwargs_mapping,
        "block": None if block_state is None else vars(block_state),
        "components": dict(_kept_fields(passage.components)),
        "random": randomness.fields(),
    }
    encoder = Encoder(passage.components.components)
    try:
        trees = {name: encoder.encode(part, name) for name, part in parts.items()}
    except UnencodableError as error:
        raise GenerationError(f"the state cannot be saved: {error}") from None
    return trees, encoder.tensors


def put_together(
    passage: Passage,
    randomness: Randomness,
    trees: Mapping[str, Any],
    tensors: Tensors,
    device: torch.device,
) -> None:
    """Give a new passage and its random numbers what `take_apart` returned.

    Raises:
        KeyError: The trees name something that is not there.
    """
    components = passage.components.components
    decoder = Decoder(tensors, components, device)
    for name, fields in decoder.decode(trees["components"]).items():
        vars(components[name]).update(fields)
    passage.take_over(
        decoder.decode(trees["values"]),
        decoder.decode(trees["kwargs"]),
        decoder.decode(trees["block"]),
    )
    randomness.restore(decoder.decode(trees["random"]))


def _kept_fields(pipeline: ModularPipeline) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each component that keeps something per request, with its fields."""
    for name, component in pipeline.components.items():
        if isinstance(component, ConfigMixin) and not isinstance(component, nn.Module):
            fields = vars(component)
            yield name, {key: fields[key] for key in fields if key != _CONFIG_FIELD}
