"""One passage through a modular pipeline's blocks that can stop after any denoising step.

The only file that knows how diffusers runs its blocks. A step is made by entering the family's
own loop with a stand-in for `loop_step`: it answers for the steps already made without computing,
makes one, and leaves at the next. So to go on in the same process and to resume in another are
the same act, and no loop of any family is rewritten. Nothing of the pipeline is changed: the
scheduler, the guider and the loop block are copies that belong to the passage.
"""

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from diffusers.configuration_utils import ConfigMixin
from diffusers.modular_pipelines.modular_pipeline import (
    BlockState,
    ConditionalPipelineBlocks,
    LoopSequentialPipelineBlocks,
    ModularPipeline,
    ModularPipelineBlocks,
    PipelineState,
    SequentialPipelineBlocks,
)
from torch import nn

Path = tuple[str, ...]

_CONTAINER_CALLS = (SequentialPipelineBlocks.__call__, ConditionalPipelineBlocks.__call__)
_BLOCK_LOGGER = logging.getLogger("diffusers.modular_pipelines.modular_pipeline")


class _StepMadeError(Exception):
    """Leaves a loop after the one step that was wanted."""


class SteppedPipeline:
    """The blocks of one generation, run up to, through and past the denoising loop.

    Attributes:
        components: The pipeline with a scheduler and guider of its own; the networks are shared.
        state: What the blocks have handed on so far.
        block_state: What the loop hands from step to step; None before its first step.
        path: Names of the blocks that lead to the loop reached last; empty before the first.
        step: Steps made in that loop.
        num_steps: Steps that loop makes in all.
    """

    def __init__(self, pipeline: ModularPipeline, inputs: Mapping[str, Any]) -> None:
        self.components = own_components(pipeline)
        self.state = _initial_state(pipeline, inputs)
        self.block_state: BlockState | None = None
        self.path: Path = ()
        self.step = 0
        self.num_steps = 0
        self._loop: LoopSequentialPipelineBlocks | None = None

    def load_state(
        self,
        values: dict[str, Any],
        kwargs_mapping: dict[str, list[str]],
        block_values: dict[str, Any] | None,
    ) -> None:
        """Take what another passage had handed on so far."""
        self.state = PipelineState(values, kwargs_mapping)
        self.block_state = None if block_values is None else BlockState(**block_values)

    def seek(self, path: Path, step: int) -> None:
        """Stand in the loop at `path` after `step` steps, without running what leads there.

        Raises:
            KeyError: The pipeline has no loop at `path`.
        """
        if not path:
            return
        reached, loop = next(self._leaves(self.components._blocks, start=path))
        if reached != path or not isinstance(loop, LoopSequentialPipelineBlocks):
            raise KeyError("/".join(path))
        self._stand_before(path, loop)
        self.step = step

    @property
    def is_in_loop(self) -> bool:
        """Whether a denoising step comes next."""
        return self._loop is not None and self.step < self.num_steps

    def run_blocks(self) -> None:
        """Run blocks until a denoising loop comes next or all have run."""
        self._loop, self.block_state = None, None
        leaves = self._leaves(self.components._blocks, start=self.path)
        if self.path:
            next(leaves)
        for path, block in leaves:
            if isinstance(block, LoopSequentialPipelineBlocks):
                self._stand_before(path, block)
                return
            _, self.state = block(self.components, self.state)

    def run_step(self) -> None:
        """Make one denoising step; after the last one the loop's results are handed on."""
        assert self._loop is not None
        self._loop.loop_step = self._one_step(type(self._loop).loop_step)
        try:
            with suppress(_StepMadeError), _quiet_block_logger():
                self._loop(self.components, self.state)
        finally:
            del self._loop.loop_step
        self.step += 1
        self._hand_on_values()

    def fork(self, block_values: Mapping[str, Any]) -> "SteppedPipeline":
        """Return a passage over the blocks after this loop, as if it had ended with these values.

        Neither its blocks' results nor its components' replacements are seen by this passage.
        """
        other = copy.copy(self)
        other.components = copy.copy(self.components)
        mapping = {kind: list(names) for kind, names in self.state.kwargs_mapping.items()}
        other.state = PipelineState({**self.state.values, **block_values}, mapping)
        return other

    def _stand_before(self, path: Path, loop: LoopSequentialPipelineBlocks) -> None:
        self.path = path
        self.step = 0
        self._loop = copy.copy(loop)
        self._loop.set_progress_bar_config(disable=True)
        self.num_steps = self._count_steps()

    def _count_steps(self) -> int:
        """Return how often the loop calls for a step, found by a round that computes nothing."""
        assert self._loop is not None
        calls = 0

        def count(
            components: ModularPipeline, block_state: BlockState, **_at: object
        ) -> tuple[ModularPipeline, BlockState]:
            nonlocal calls
            calls += 1
            return components, block_state

        self._loop.loop_step = count
        scratch = PipelineState(dict(self.state.values), dict(self.state.kwargs_mapping))
        # A loop may miss at its end what only a real step makes: the count is complete by then.
        with suppress(ValueError, AttributeError):
            self._loop(copy.copy(self.components), scratch)
        del self._loop.loop_step
        return calls

    def _one_step(self, loop_step: Any) -> Any:  # diffusers is untyped
        calls = 0

        def stand_in(
            components: ModularPipeline, block_state: BlockState, **at: object
        ) -> tuple[ModularPipeline, BlockState]:
            nonlocal calls
            calls += 1
            kept = self.block_state if self.block_state is not None else block_state
            if calls > self.step + 1:
                raise _StepMadeError
            if calls == self.step + 1:
                components, self.block_state = loop_step(self._loop, components, kept, **at)
                kept = self.block_state
            return components, kept

        return stand_in

    def _hand_on_values(self) -> None:
        """Let go of what the step replaced, the initial noise above all."""
        assert self.block_state is not None
        for name in self.state.values:
            if hasattr(self.block_state, name):
                self.state.values[name] = getattr(self.block_state, name)

    def _leaves(
        self, block: ModularPipelineBlocks, at: Path = (), start: Path = ()
    ) -> Iterator[tuple[Path, ModularPipelineBlocks]]:
        """Yield the blocks that do work as their turn comes, each with its path, from `start` on.

        A conditional block chooses by the state of that moment, as it does in diffusers.
        """
        if type(block).__call__ not in _CONTAINER_CALLS:
            yield at, block
            return
        for name in self._names_in_turn(block, start[0] if start else None):
            yield from self._leaves(block.sub_blocks[name], (*at, name), start[1:])
            start = ()

    def _names_in_turn(self, block: ModularPipelineBlocks, first: str | None) -> list[str]:
        if isinstance(block, ConditionalPipelineBlocks):
            chosen = first or _choose(block, self.state)
            return [chosen] if chosen else []
        names = list(block.sub_blocks)
        if first is None:
            return names
        if first not in names:
            raise KeyError(first)
        return names[names.index(first) :]


def own_components(pipeline: ModularPipeline) -> ModularPipeline:
    """Return the pipeline with its own copy of everything that keeps something per request."""
    own = copy.copy(pipeline)
    for name, component in pipeline.components.items():
        if isinstance(component, ConfigMixin) and not isinstance(component, nn.Module):
            setattr(own, name, copy.deepcopy(component))
    return own


def input_names(pipeline: ModularPipeline) -> frozenset[str]:
    """Return the names of everything the pipeline's blocks take from a caller."""
    return frozenset(p.name for p in pipeline._blocks.inputs if p.name is not None)


def input_default(pipeline: ModularPipeline, name: str) -> Any:
    """Return what the pipeline's blocks take `name` to be when nothing is passed."""
    return pipeline.default_call_parameters.get(name)


def _choose(block: ConditionalPipelineBlocks, state: PipelineState) -> str | None:
    triggers = {name: state.get(name) for name in block.block_trigger_inputs if name is not None}
    chosen: str | None = block.select_block(**triggers) or block.default_block_name
    return chosen


def _initial_state(pipeline: ModularPipeline, inputs: Mapping[str, Any]) -> PipelineState:
    state = PipelineState()
    for param in pipeline._blocks.inputs:
        if param.name is not None:
            state.set(param.name, inputs.get(param.name, param.default), param.kwargs_type)
    return state


@contextmanager
def _quiet_block_logger() -> Iterator[None]:
    """Keep diffusers from logging a traceback of every exception that passes its blocks."""
    before = _BLOCK_LOGGER.disabled
    _BLOCK_LOGGER.disabled = True
    try:
        yield
    finally:
        _BLOCK_LOGGER.disabled = before
