"""Run one generation in this process: make its file, or resume it from a checkpoint."""

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError

from reelgrid.engine.checkpoint import Checkpoint, read_request, write_checkpoint
from reelgrid.engine.checkpointer import Checkpointer
from reelgrid.engine.generation import Generation, Progress
from reelgrid.errors import CheckpointError, GenerationError
from reelgrid.local.unfinished_runs import UnfinishedRun, new_checkpoint_path, read_unfinished_run
from reelgrid.measurement import minutes_per_gpu_hour
from reelgrid.media import check_output, provenance_of, write_clip
from reelgrid.models.loading import LoadedModel
from reelgrid.spec import CompleteRequest, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """What to generate, with which model, and the file to write."""

    model: str
    request: Request
    output: Path
    device: str = "auto"
    dtype: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunHooks:
    """Callbacks and checkpoint settings of a run.

    Attributes:
        checkpoint_folder: Folder for checkpoints.
        checkpoint_every_s: Seconds between two checkpoints.
        on_progress: Called after each step.
        should_stop: Called between steps; if true, a checkpoint is saved and the run ends.
    """

    checkpoint_folder: Path
    checkpoint_every_s: float = 5.0
    on_progress: Callable[[Progress], None] = lambda progress: None
    should_stop: Callable[[], bool] = lambda: False


class RunInterrupted(Exception):  # noqa: N818  # not an error
    """The run was stopped on request; `unfinished` is its checkpoint."""

    def __init__(self, unfinished: UnfinishedRun) -> None:
        super().__init__(f"stopped; saved as {unfinished.checkpoint}")
        self.unfinished = unfinished


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """A finished file and the time of each stage, in seconds of wall clock.

    Attributes:
        output: Path of the file.
        request: What was generated.
        denoise_s: Time of all steps, in all processes that made some.
        step_s: Median time of a step.
        peak_memory_gib: Peak memory of the GPU; of the process on a CPU.
    """

    output: Path
    model: str
    device: str
    dtype: str
    request: CompleteRequest
    load_s: float
    encode_s: float
    denoise_s: float
    step_s: float
    decode_s: float
    write_s: float
    peak_memory_gib: float

    @classmethod
    def of(cls, generation: Generation, output: Path, write_s: float) -> "RunReport":
        """Return the report of a finished generation."""
        model, timings = generation.model, generation.timings
        return cls(
            output=output,
            model=model.card.name,
            device=str(model.device),
            dtype=str(model.dtype).removeprefix("torch."),
            request=generation.request,
            load_s=model.load_s,
            encode_s=timings.encode_s,
            denoise_s=timings.denoise_s,
            step_s=statistics.median(timings.step_s),
            decode_s=timings.decode_s,
            write_s=write_s,
            peak_memory_gib=generation.peak_memory_gib,
        )

    @property
    def busy_s(self) -> float:
        """Seconds from prompt to frames, without loading the model and writing the file."""
        return self.encode_s + self.denoise_s + self.decode_s

    @property
    def minutes_per_gpu_hour(self) -> float:
        """Minutes of video that this device makes in an hour; 0 for an image."""
        if self.request.is_image:
            return 0.0
        return minutes_per_gpu_hour(self.request.clip_s, self.busy_s)

    def to_json(self) -> dict[str, object]:
        """Return the report as plain JSON values, with units in the names."""
        times = ("load_s", "encode_s", "denoise_s", "step_s", "decode_s", "write_s")
        return {
            "output": str(self.output),
            "model": self.model,
            "device": self.device,
            "dtype": self.dtype,
            **self.request.to_json(),
            **{name: round(getattr(self, name), 4) for name in times},
            "peak_memory_gib": round(self.peak_memory_gib, 3),
            "minutes_of_video_per_gpu_hour": round(self.minutes_per_gpu_hour, 2),
        }


def generate_file(spec: RunSpec, model: LoadedModel, hooks: RunHooks) -> RunReport:
    """Return the report of a clip that is generated and written to its file.

    Raises:
        RequestError: The model cannot generate it, or the output cannot be written.
        GenerationError: It failed.
        RunInterrupted: It was stopped; its checkpoint is saved.
    """
    with Generation(model, spec.request) as generation:
        check_output(spec.output, generation.request.num_frames)
        path = new_checkpoint_path(hooks.checkpoint_folder, spec.request.prompt)
        return _finish(generation, _unfinished(spec, path), hooks)


def resume(
    checkpoint: Path, output: Path | None, load: Callable[[RunSpec], LoadedModel], hooks: RunHooks
) -> RunReport:
    """Return the report of a run that is finished from its checkpoint, which is then removed.

    Args:
        checkpoint: File of the checkpoint.
        output: The file to write; `None` for the one that was given when the run started.
        load: Returns the model of a run.
        hooks: Callbacks and checkpoint settings.

    Raises:
        CheckpointError: The checkpoint does not fit, or its output is not known.
        GenerationError: The generation failed.
        RunInterrupted: The run was stopped again; its checkpoint is saved.
    """
    model_name, request = read_request(checkpoint)
    known = read_unfinished_run(checkpoint)
    output = output or (known.output if known else None)
    if output is None:
        raise CheckpointError(f"{checkpoint} does not name its output file: give --output")
    spec = RunSpec(
        model=known.model if known else model_name,
        request=request,
        output=output,
        device=known.device if known else "auto",
        dtype=known.dtype if known else "auto",
    )
    check_output(spec.output, request.num_frames)
    with Generation.restore(checkpoint, load(spec)) as generation:
        return _finish(generation, _unfinished(spec, checkpoint), hooks)


def _finish(generation: Generation, unfinished: UnfinishedRun, hooks: RunHooks) -> RunReport:
    """Iterate to the end, saving checkpoints when they are due, and write the file."""
    with (
        ExitStack() as locks,
        _checkpointer(unfinished, hooks.checkpoint_every_s, locks) as checkpointer,
    ):
        if unfinished.checkpoint.exists():
            locks.enter_context(unfinished.lock())
        for progress in generation:
            hooks.on_progress(progress)
            if progress.stage == "decode":
                continue
            if hooks.should_stop():
                checkpointer.save_now(generation, progress.step)
                raise RunInterrupted(unfinished)
            checkpointer.save_if_due(generation, progress.step)
        checkpointer.wait()
        report = _write(generation, unfinished)
        unfinished.remove()
        return report


def _checkpointer(unfinished: UnfinishedRun, every_s: float, locks: ExitStack) -> Checkpointer:
    """Return the run's checkpointer; `locks` keeps the run locked from its first checkpoint on."""

    def store(checkpoint: Checkpoint, _step: int) -> None:
        try:
            if not unfinished.sidecar.exists():
                locks.enter_context(unfinished.lock())
            write_checkpoint(unfinished.checkpoint, checkpoint)
        except (OSError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:200]
            raise GenerationError(
                f"the checkpoint could not be saved to {unfinished.checkpoint}: {reason}; "
                "free disk space, or set REELGRID_DATA to another folder"
            ) from error

    return Checkpointer(store, lambda _cost_s: every_s)


def _write(generation: Generation, unfinished: UnfinishedRun) -> RunReport:
    start = time.perf_counter()
    request, output = generation.request, unfinished.output
    provenance = provenance_of(unfinished.model, request)
    write_clip(generation.frames, output, fps=request.fps, provenance=provenance)
    return RunReport.of(generation, output, time.perf_counter() - start)


def _unfinished(spec: RunSpec, checkpoint: Path) -> UnfinishedRun:
    is_folder = Path(spec.model).is_dir()
    return UnfinishedRun(
        checkpoint=checkpoint,
        model=str(Path(spec.model).resolve()) if is_folder else spec.model,
        prompt=spec.request.prompt,
        output=spec.output.resolve(),
        device=spec.device,
        dtype=spec.dtype,
    )
