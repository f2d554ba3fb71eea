"""A generation: an iterator over the steps from a prompt to frames.

Between any two steps it can be saved as a checkpoint, restored, previewed and closed. How diffusers
runs a step is in `stepped_pipeline`.
"""

import logging
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch

from reelgrid.engine import device
from reelgrid.engine.checkpoint import (
    Checkpoint,
    check_compatible,
    current_software,
    read_checkpoint,
    write_checkpoint,
)
from reelgrid.engine.device import RandomStream, choose_num_threads, use_threads
from reelgrid.engine.guidance import batch_guidance
from reelgrid.engine.pipeline_io import (
    GUIDANCE_OFF,
    begin_at_first_step,
    frames_of,
    pipeline_inputs,
    set_guidance,
)
from reelgrid.engine.preview import preview_image
from reelgrid.engine.snapshot import capture_state, restore_state
from reelgrid.engine.stepped_pipeline import SteppedPipeline
from reelgrid.errors import CheckpointError, DeviceMemoryError, GenerationError
from reelgrid.models.loading import LoadedModel
from reelgrid.spec import CompleteRequest, Request

Stage = Literal["encode", "denoise", "decode"]

_RECENT_STEPS = 5
# What a network or solver raises for settings that its card did not rule out.
_NETWORK_ERRORS = (
    RuntimeError,
    ValueError,
    TypeError,
    IndexError,
    AssertionError,
    MemoryError,
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a generation, after the stage or step that has just ended.

    Attributes:
        stage: What has just ended.
        step: Denoising steps that are done, 0 to `num_steps`. Solvers that call the network more
            often than once per step, such as Heun's, need several calls for one.
        num_steps: Denoising steps that were requested.
        step_s: Seconds per call of the solver, median of the last few; `None` before the first.
        eta_s: Seconds that the remaining steps will take, without decoding.
        elapsed_s: Seconds of work on this generation, in all processes that worked on it.
    """

    stage: Stage
    step: int
    num_steps: int
    step_s: float | None
    eta_s: float | None
    elapsed_s: float


@dataclass(slots=True)
class StageTimings:
    """Seconds that each stage took, in all processes that worked on the generation."""

    encode_s: float = 0.0
    decode_s: float = 0.0
    step_s: list[float] = field(default_factory=list)

    @property
    def denoise_s(self) -> float:
        """Seconds of all steps together."""
        return sum(self.step_s)

    @property
    def total_s(self) -> float:
        """Seconds of all stages together."""
        return self.encode_s + self.denoise_s + self.decode_s


class Generation(Iterator[Progress]):
    """The generation of one clip or image: each iteration makes one stage or one step.

    Several generations can alternate on one model; each gives what it would give alone.

    Args:
        model: The networks; shared, never changed.
        request: What to generate; the model's defaults are filled in where they are missing.
        exact: Compute exactly as diffusers' own pipeline does, bit for bit; otherwise faster, with
            the same result up to rounding.

    Raises:
        RequestError: The model cannot generate it.
    """

    def __init__(self, model: LoadedModel, request: Request, *, exact: bool = False) -> None:
        complete = request if isinstance(request, CompleteRequest) else model.card.complete(request)
        pipeline = SteppedPipeline(model.pipeline, pipeline_inputs(model, complete))
        # Text blocks of some families fail where guidance is off: then it is set after them.
        if complete.guidance_scale > GUIDANCE_OFF:
            set_guidance(pipeline.components, model, complete)
        self._start(model, complete, pipeline, exact)

    def _start(
        self, model: LoadedModel, request: CompleteRequest, pipeline: SteppedPipeline, exact: bool
    ) -> None:
        self.model = model
        self.request = request
        self.exact = exact
        self._num_threads = torch.get_num_threads() if exact else choose_num_threads(model, request)
        if not exact:
            batch_guidance(pipeline.components)
        self.timings = StageTimings()
        self._stage: Stage | None = "encode"
        self._frames: np.ndarray | None = None
        self._pipeline: SteppedPipeline | None = pipeline
        self._random_stream = RandomStream(request.seed, model.device)
        device.reset_peak_memory(model.device)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Progress:
        if self._stage is None:
            raise StopIteration
        stage = self._stage
        pipeline = self._open_pipeline()
        start = time.perf_counter()
        with self._computing():
            if stage == "denoise":
                pipeline.run_step()
            else:
                pipeline.run_blocks()
        self._record(stage, time.perf_counter() - start)
        return self._progress(stage)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @classmethod
    def restore(cls, path: Path, model: LoadedModel) -> "Generation":
        """Return the generation of a checkpoint; it continues bit for bit as if never interrupted.

        Raises:
            CheckpointError: The file is not a whole checkpoint, or was made by another model or
                other software.
        """
        checkpoint = read_checkpoint(path)
        software = current_software(model.device, model.dtype)
        check_compatible(checkpoint, path, model.fingerprint, software)
        generation = cls.__new__(cls)
        pipeline = SteppedPipeline(model.pipeline, {})
        position = checkpoint.position
        generation._start(model, checkpoint.request, pipeline, position["exact"])
        try:
            with torch.inference_mode():
                restore_state(
                    pipeline,
                    generation._random_stream,
                    checkpoint.trees,
                    checkpoint.tensors,
                    model.device,
                )
                pipeline.seek(tuple(position["path"]), position["step"])
        except (KeyError, AttributeError, RuntimeError) as error:
            raise CheckpointError(f"{path} does not fit this model: {error}") from None
        generation._stage = position["stage"]
        generation._num_threads = position["num_threads"]
        generation.timings = StageTimings(**position["timings"])
        return generation

    def snapshot(self) -> Checkpoint:
        """Return a checkpoint in memory, with copies of all tensors: no later step changes it.

        Raises:
            GenerationError: The generation is closed, or has a value that no file can hold.
        """
        pipeline = self._open_pipeline()
        trees, tensors = capture_state(pipeline, self._random_stream)
        return Checkpoint(
            model=self.model.name,
            fingerprint=self.model.fingerprint,
            software=dict(current_software(self.model.device, self.model.dtype)),
            request=self.request,
            position={
                "stage": self._stage,
                "path": list(pipeline.path),
                "step": pipeline.step,
                "exact": self.exact,
                "num_threads": self._num_threads,
                "timings": asdict(self.timings),
            },
            trees=trees,
            tensors=tensors,
        )

    def save_checkpoint(self, path: Path) -> None:
        """Write a checkpoint to a file, atomically.

        Raises:
            GenerationError: The generation is closed, or has a value that no file can hold.
        """
        write_checkpoint(path, self.snapshot())

    def preview(self) -> np.ndarray:
        """Return a small estimate of the finished clip's middle frame, uint8 [h, w, 3].

        Raises:
            GenerationError: No step has been made yet, or the generation is closed.
        """
        with self._computing():
            return preview_image(self._open_pipeline(), self.request)

    @property
    def frames(self) -> np.ndarray:
        """The finished frames, uint8 [T, H, W, 3].

        Raises:
            GenerationError: The generation is not finished.
        """
        if self._frames is None:
            raise GenerationError("the generation is not finished: iterate to its end first")
        return self._frames

    @property
    def peak_memory_gib(self) -> float:
        """Peak memory since this generation started: the GPU's, or the process's on a CPU."""
        return device.peak_memory_gib(self.model.device)

    def close(self) -> None:
        """Cancel the generation and release everything it holds."""
        self._stage = self._pipeline = self._frames = None
        device.release_memory(self.model.device)

    def _open_pipeline(self) -> SteppedPipeline:
        if self._pipeline is None:
            raise GenerationError("the generation is closed or finished")
        return self._pipeline

    def _record(self, stage: Stage, took_s: float) -> None:
        """Record the seconds of a stage, and choose the next."""
        pipeline = self._open_pipeline()
        if stage == "denoise":
            self.timings.step_s.append(took_s)
            self._stage = "denoise" if pipeline.is_in_loop else "decode"
            return
        if stage == "encode":
            self.timings.encode_s += took_s
        else:
            self.timings.decode_s += took_s
        if pipeline.is_in_loop:
            set_guidance(pipeline.components, self.model, self.request)
            begin_at_first_step(pipeline.components, pipeline.state.values.get("timesteps"))
            self._stage = "denoise"
        else:
            self._frames = frames_of(pipeline.state.values)
            self._stage = self._pipeline = None

    def _progress(self, stage: Stage) -> Progress:
        recent = self.timings.step_s[-_RECENT_STEPS:]
        step_s = statistics.median(recent) if recent else None
        num_steps, pipeline = self.request.num_steps, self._pipeline
        calls, num_calls = (1, 1) if pipeline is None else (pipeline.step, pipeline.num_steps)
        return Progress(
            stage=stage,
            step=calls * num_steps // max(1, num_calls),
            num_steps=num_steps,
            step_s=step_s,
            eta_s=None if step_s is None else step_s * (num_calls - calls),
            elapsed_s=self.timings.total_s,
        )

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Compute without gradients, with this generation's random numbers and threads.

        Raises:
            DeviceMemoryError: The device has too little memory.
            GenerationError: A network or the solver failed; the message is one line.
        """
        try:
            with (
                torch.inference_mode(),
                self._random_stream.in_use(),
                use_threads(self._num_threads),
            ):
                yield
                device.synchronize(self.model.device)
        except _NETWORK_ERRORS as error:
            if device.is_out_of_memory(error):
                raise DeviceMemoryError(
                    f"{self.model.device} ran out of memory at {self.request.size} with "
                    f"{self.request.num_frames} frames: ask for a smaller size or fewer frames"
                ) from None
            _log.debug("a network failed", exc_info=True)
            reason = (str(error).strip().splitlines() or ["no message"])[0][:200]
            raise GenerationError(
                f"{self.model.card.name} failed with {type(error).__name__}: {reason}; "
                "try other settings, REELGRID_LOG_LEVEL=DEBUG shows where"
            ) from error
