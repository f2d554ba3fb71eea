"""Run a diffusers modular pipeline step by step: it can stop after any denoising step.

The only file that knows how diffusers runs its blocks. Each step enters the family's own loop with
a replacement for `loop_step`, which returns at once for the steps already made, makes one, and
leaves the loop at the next. Continuing in one process and resuming in another are thus the same
operation, and no loop of any family is rewritten. The pipeline itself is never changed: scheduler,
guider and loop block are copies.
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

BlockPath = tuple[str, ...]

_CONTAINER_CALLS = (SequentialPipelineBlocks.__call__, ConditionalPipelineBlocks.__call__)
_BLOCK_LOGGER = logging.getLogger("diffusers.modular_pipelines.modular_pipeline")


class _StepMadeError(Exception):
    """Leaves the loop after the one step to make."""


class SteppedPipeline:
    """One run of a pipeline's blocks, step by step through the denoising loop.

    Attributes:
        components: The pipeline with its own scheduler and guider; the networks are shared.
        state: The values that the blocks have passed on so far.
        block_state: The values that the loop passes from step to step; `None` before its first.
        path: Names of the blocks that lead to the current loop; empty before the first loop.
        step: Calls of `loop_step` that are done in this loop.
        num_steps: Calls that this loop makes in all; more than the denoising steps that were
            requested where the solver needs several calls for one, such as Heun's.
    """

    def __init__(self, pipeline: ModularPipeline, inputs: Mapping[str, Any]) -> None:
        self.components = own_components(pipeline)
        self.state = _initial_state(pipeline, inputs)
        self.block_state: BlockState | None = None
        self.path: BlockPath = ()
        self.step = 0
        self.num_steps = 0
        self._loop: LoopSequentialPipelineBlocks | None = None

    def load_state(
        self,
        values: dict[str, Any],
        kwargs_mapping: dict[str, list[str]],
        block_values: dict[str, Any] | None,
    ) -> None:
        """Continue with the values that another run of this pipeline had reached."""
        self.state = PipelineState(values, kwargs_mapping)
        self.block_state = None if block_values is None else BlockState(**block_values)

    def seek(self, path: BlockPath, step: int) -> None:
        """Move to the loop at `path` after `step` steps, without running the blocks before it.

        Raises:
            KeyError: The pipeline has no loop at `path`.
        """
        if not path:
            return
        reached, loop = next(self._leaves(self.components._blocks, start=path))
        if reached != path or not isinstance(loop, LoopSequentialPipelineBlocks):
            raise KeyError("/".join(path))
        self._enter_loop(path, loop)
        self.step = step

    @property
    def is_in_loop(self) -> bool:
        """Whether the next thing to run is a denoising step."""
        return self._loop is not None and self.step < self.num_steps

    def run_blocks(self) -> None:
        """Run the blocks up to the next denoising loop, or to the end."""
        self._loop, self.block_state = None, None
        leaves = self._leaves(self.components._blocks, start=self.path)
        if self.path:
            next(leaves)
        for path, block in leaves:
            if isinstance(block, LoopSequentialPipelineBlocks):
                self._enter_loop(path, block)
                return
            _, self.state = block(self.components, self.state)

    def run_step(self) -> None:
        """Run one denoising step; the last one passes the loop's results on."""
        assert self._loop is not None
        self._loop.loop_step = self._one_step(type(self._loop).loop_step)
        try:
            with suppress(_StepMadeError), _quiet_block_logger():
                self._loop(self.components, self.state)
        finally:
            del self._loop.loop_step
        self.step += 1
        self._pass_on_values()

    def fork(self, block_values: Mapping[str, Any]) -> "SteppedPipeline":
        """Return a copy that continues after this loop, as if the loop had ended with these values.

        What its blocks compute, and components that are replaced in it, do not change this one.
        """
        other = copy.copy(self)
        other.components = copy.copy(self.components)
        mapping = {kind: list(names) for kind, names in self.state.kwargs_mapping.items()}
        other.state = PipelineState({**self.state.values, **block_values}, mapping)
        return other

    def _enter_loop(self, path: BlockPath, loop: LoopSequentialPipelineBlocks) -> None:
        self.path = path
        self.step = 0
        self._loop = copy.copy(loop)
        self._loop.set_progress_bar_config(disable=True)
        self.num_steps = self._count_steps()

    def _count_steps(self) -> int:
        """Return how often the loop calls `loop_step`, counted by a run that computes nothing."""
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
        # After its last step a loop may miss what only a real step makes: the count is done then.
        with suppress(ValueError, AttributeError):
            self._loop(copy.copy(self.components), scratch)
        del self._loop.loop_step
        return calls

    def _one_step(self, loop_step: Any) -> Any:  # diffusers is untyped
        calls = 0

        def run_only_next(
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

        return run_only_next

    def _pass_on_values(self) -> None:
        """Release what the step has replaced, above all the initial noise."""
        assert self.block_state is not None
        for name in self.state.values:
            if hasattr(self.block_state, name):
                self.state.values[name] = getattr(self.block_state, name)

    def _leaves(
        self, block: ModularPipelineBlocks, at: BlockPath = (), start: BlockPath = ()
    ) -> Iterator[tuple[BlockPath, ModularPipelineBlocks]]:
        """Yield the blocks without sub-blocks in order, each with its path, from `start` on.

        A conditional block chooses by the current state, as in diffusers.
        """
        if type(block).__call__ not in _CONTAINER_CALLS:
            yield at, block
            return
        for name in self._names_from(block, start[0] if start else None):
            yield from self._leaves(block.sub_blocks[name], (*at, name), start[1:])
            start = ()

    def _names_from(self, block: ModularPipelineBlocks, first: str | None) -> list[str]:
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
    """Return the pipeline with its own copies of the components that keep state per request."""
    own = copy.copy(pipeline)
    for name, component in pipeline.components.items():
        if isinstance(component, ConfigMixin) and not isinstance(component, nn.Module):
            setattr(own, name, copy.deepcopy(component))
    return own


def input_names(pipeline: ModularPipeline) -> frozenset[str]:
    """Return the names of the pipeline's inputs."""
    return frozenset(p.name for p in pipeline._blocks.inputs if p.name is not None)


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
    """Keep diffusers from logging a traceback for every exception in its blocks."""
    before = _BLOCK_LOGGER.disabled
    _BLOCK_LOGGER.disabled = True
    try:
        yield
    finally:
        _BLOCK_LOGGER.disabled = before
