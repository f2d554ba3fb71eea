"""Make one file, or go on with one: the loop around a generation."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reelgrid.engine.checkpoint import read_request
from reelgrid.engine.generation import Generation, Progress
from reelgrid.errors import CheckpointError
from reelgrid.local.request_provenance import provenance_of
from reelgrid.local.run_report import RunReport, run_report
from reelgrid.local.saving import Saving
from reelgrid.local.unfinished_runs import UnfinishedRun, new_checkpoint_path, read_unfinished_run
from reelgrid.media import check_output, write_clip
from reelgrid.models.loading import LoadedModel
from reelgrid.spec import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """What to make, with which model, and where to put it."""

    model: str
    request: Request
    output: Path
    device: str = "auto"
    dtype: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHooks:
    """What goes on around a generation while it runs.

    Attributes:
        on_progress: Is told after each step.
        should_stop: Is asked between steps; on true the state is saved and the work ends.
        states: Folder for saved states.
        checkpoint_every_s: The state is saved when this much time has passed since the last save.
    """

    states: Path
    on_progress: Callable[[Progress], None] = lambda progress: None
    should_stop: Callable[[], bool] = lambda: False
    checkpoint_every_s: float = 5.0


class RunInterrupted(Exception):  # noqa: N818  # nothing went wrong
    """Somebody stopped the work; `unfinished_runs` is what was saved of it."""

    def __init__(self, unfinished: UnfinishedRun) -> None:
        super().__init__(f"stopped; saved as {unfinished.checkpoint}")
        self.unfinished = unfinished


def generate_file(order: RunSpec, model: LoadedModel, watch: RunHooks) -> RunReport:
    """Return what it took to make the file that is ordered.

    Raises:
        RequestError: The model or the output cannot do it.
        GenerationError: It began and failed.
        RunInterrupted: It was stopped; its state is saved.
    """
    request = model.card.complete(order.request)
    check_output(order.output, request.num_frames or 1)
    with Generation(model, request) as generation:
        entry = _entry(order, new_checkpoint_path(watch.states, request.prompt))
        return _finish(generation, entry, watch)


def resume(
    checkpoint: Path, output: Path | None, load: Callable[[RunSpec], LoadedModel], watch: RunHooks
) -> RunReport:
    """Return what it took to make the file of a saved generation; the state is removed.

    Args:
        checkpoint: The saved state.
        output: Where the file is to be; none is where it was to be before.
        load: Gives the model of an order.
        watch: What goes on around it.

    Raises:
        CheckpointError: The state cannot be taken up, or does not say where its file was to be.
        GenerationError: It went on and failed.
        RunInterrupted: It was stopped again; its state is saved.
    """
    model_name, request = read_request(checkpoint)
    known = read_unfinished_run(checkpoint)
    output = output or (known.output if known else None)
    if output is None:
        raise CheckpointError(f"{checkpoint} does not say where its file was to be: give --output")
    order = RunSpec(
        model=known.model if known else model_name,
        request=request,
        output=output,
        device=known.device if known else "auto",
        dtype=known.dtype if known else "auto",
    )
    check_output(order.output, request.num_frames or 1)
    with Generation.restore(checkpoint, load(order)) as generation:
        return _finish(generation, _entry(order, checkpoint), watch)


def _finish(generation: Generation, entry: UnfinishedRun, watch: RunHooks) -> RunReport:
    """Iterate to the end, saving when due, and write the file."""
    with Saving(generation, entry, watch.checkpoint_every_s) as saving:
        for progress in generation:
            watch.on_progress(progress)
            if progress.stage == "decode":
                continue
            if watch.should_stop():
                saving.save_now()
                raise RunInterrupted(entry)
            saving.save_if_due()
        saving.settle()
        report = _write(generation, entry)
        entry.remove()
        return report


def _write(generation: Generation, entry: UnfinishedRun) -> RunReport:
    start = time.perf_counter()
    request = generation.request
    provenance = provenance_of(entry.model, request)
    write_clip(generation.frames, entry.output, fps=request.fps, provenance=provenance)
    return run_report(generation, entry.output, time.perf_counter() - start)


def _entry(order: RunSpec, state: Path) -> UnfinishedRun:
    return UnfinishedRun(
        checkpoint=state,
        model=order.model if not Path(order.model).is_dir() else str(Path(order.model).resolve()),
        prompt=order.request.prompt,
        output=order.output.resolve(),
        device=order.device,
        dtype=order.dtype,
    )
