"""A generation: a state that advances one denoising step at a time.

It yields progress and can be saved, restored, previewed and closed between any two steps. Bars,
due times and files belong to whoever iterates; how blocks run is the business of `stepped_pipeline`.
"""

import logging
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
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
from reelgrid.engine.device import RandomStream, choose_num_threads, num_threads
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
# What a network or solver raises at settings that its card did not rule out.
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
    """Where a generation stands after what it has just done.

    Attributes:
        stage: What was just done.
        step: Denoising steps made.
        num_steps: Denoising steps in all.
        step_s: Seconds a step, median of the last few; none before the first.
        eta_s: Seconds that the remaining steps will take; decoding is not in it.
        elapsed_s: Seconds worked on this generation, in all processes that had it.
    """

    stage: Stage
    step: int
    num_steps: int
    step_s: float | None
    eta_s: float | None
    elapsed_s: float


@dataclass(slots=True)
class StageTimings:
    """Seconds that each stage has taken, in all processes that had the generation."""

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
    """Frames in the making: iterate to advance it by one step at a time.

    Several generations may take turns on one model; each gives what it would give alone.

    Args:
        model: The networks; shared, never changed.
        request: What to make; the model's defaults are filled in.
        exact: Compute as diffusers' own pipeline does, bit for bit; otherwise as fast as is the
            same but for rounding.

    Raises:
        RequestError: The model cannot make it.
    """

    def __init__(self, model: LoadedModel, request: Request, *, exact: bool = False) -> None:
        complete = model.card.complete(request)
        passage = SteppedPipeline(model.pipeline, pipeline_inputs(model, complete))
        # Text blocks of some families fail when they find guidance off: it is set after them.
        if complete.guidance_scale > GUIDANCE_OFF:
            set_guidance(passage.components, model, complete)
        self._begin(model, complete, passage, exact)

    def _begin(
        self, model: LoadedModel, request: CompleteRequest, passage: SteppedPipeline, exact: bool
    ) -> None:
        self.model = model
        self.request = request
        self.exact = exact
        self._num_threads = torch.get_num_threads() if exact else choose_num_threads(model, request)
        if not exact:
            batch_guidance(passage.components)
        self.timings = StageTimings()
        self._stage: Stage | None = "encode"
        self._frames: np.ndarray | None = None
        self._passage: SteppedPipeline | None = passage
        self._randomness = RandomStream(request.seed, model.device)
        device.start_watching(model.device)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Progress:
        if self._stage is None:
            raise StopIteration
        stage = self._stage
        passage = self._open_passage()
        start = time.perf_counter()
        with self._working():
            if stage == "denoise":
                passage.run_step()
            else:
                passage.run_blocks()
        self._book(stage, time.perf_counter() - start)
        return self._progress(stage)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @classmethod
    def restore(cls, path: Path, model: LoadedModel) -> "Generation":
        """Return the generation that was saved at `path`, ready to go on with equal bits.

        Raises:
            CheckpointError: The file is truncated, foreign or changed, or of another model or software.
        """
        saved = read_checkpoint(path)
        check_compatible(
            saved, path, model.fingerprint, current_software(model.device, model.dtype)
        )
        generation = cls.__new__(cls)
        passage = SteppedPipeline(model.pipeline, {})
        where = saved.position
        generation._begin(model, saved.request, passage, where["exact"])
        try:
            with torch.inference_mode():
                restore_state(
                    passage, generation._randomness, saved.trees, saved.tensors, model.device
                )
                passage.seek(tuple(where["path"]), where["step"])
        except (KeyError, AttributeError, RuntimeError) as error:
            raise CheckpointError(f"{path} does not fit this model: {error}") from None
        generation._stage = where["stage"]
        generation._num_threads = where["num_threads"]
        generation.timings = StageTimings(**where["timings"])
        return generation

    def snapshot(self) -> Checkpoint:
        """Return the state as it is now, in tensors of its own: no later step changes it.

        Raises:
            GenerationError: It is closed, or holds something that has no form in a file.
        """
        passage = self._open_passage()
        trees, tensors = capture_state(passage, self._randomness)
        return Checkpoint(
            model=self.model.name,
            fingerprint=self.model.fingerprint,
            software=dict(current_software(self.model.device, self.model.dtype)),
            request=self.request,
            position={
                "stage": self._stage,
                "path": list(passage.path),
                "step": passage.step,
                "exact": self.exact,
                "num_threads": self._num_threads,
                "timings": asdict(self.timings),
            },
            trees=trees,
            tensors=tensors,
        )

    def save_checkpoint(self, path: Path) -> None:
        """Write the state to one file, whole or not at all.

        Raises:
            GenerationError: It is closed, or holds something that has no form in a file.
        """
        write_checkpoint(path, self.snapshot())

    def preview(self) -> np.ndarray:
        """Return an estimate of the finished clip's middle frame, uint8 [h, w, 3], small.

        Raises:
            GenerationError: Nothing has been denoised yet, or the generation is closed.
        """
        with self._working():
            return preview_image(self._open_passage(), self.request)

    @property
    def frames(self) -> np.ndarray:
        """The finished frames, uint8 [T, H, W, 3].

        Raises:
            GenerationError: The generation has not come to its end.
        """
        if self._frames is None:
            raise GenerationError("the generation is not finished: iterate to its end first")
        return self._frames

    @property
    def peak_memory_gib(self) -> float:
        """The most memory in use since this generation began: the GPU's, or the process's."""
        return device.peak_gib(self.model.device)

    def close(self) -> None:
        """Cancel: let go of everything; nothing is left behind."""
        self._stage = self._passage = self._frames = None
        device.release(self.model.device)

    def _open_passage(self) -> SteppedPipeline:
        if self._passage is None:
            raise GenerationError("the generation is closed or finished")
        return self._passage

    def _book(self, stage: Stage, took_s: float) -> None:
        """Note what a stage took, and turn to the next."""
        passage = self._open_passage()
        if stage == "denoise":
            self.timings.step_s.append(took_s)
            self._stage = "denoise" if passage.is_in_loop else "decode"
            return
        if stage == "encode":
            self.timings.encode_s += took_s
        else:
            self.timings.decode_s += took_s
        if passage.is_in_loop:
            set_guidance(passage.components, self.model, self.request)
            begin_at_first_step(passage.components, passage.state.values.get("timesteps"))
            self._stage = "denoise"
        else:
            self._frames = frames_of(passage.state.values)
            self._stage = self._passage = None

    def _progress(self, stage: Stage) -> Progress:
        recent = self.timings.step_s[-_RECENT_STEPS:]
        step_s = statistics.median(recent) if recent else None
        step, num_steps = (
            (self._passage.step, self._passage.num_steps)
            if self._passage is not None
            else (len(self.timings.step_s), len(self.timings.step_s))
        )
        return Progress(
            stage=stage,
            step=step,
            num_steps=num_steps,
            step_s=step_s,
            eta_s=None if step_s is None else step_s * (num_steps - step),
            elapsed_s=self.timings.total_s,
        )

    @contextmanager
    def _working(self) -> Iterator[None]:
        """Compute without gradients, with this generation's random numbers, errors in one line."""
        try:
            with (
                torch.inference_mode(),
                self._randomness.in_use(),
                num_threads(self._num_threads),
            ):
                yield
                device.wait_for(self.model.device)
        except _NETWORK_ERRORS as error:
            if device.is_short(error):
                raise DeviceMemoryError(
                    f"{self.model.device} ran out of memory at {self.request.size} with "
                    f"{self.request.num_frames} frames: ask for a smaller size or fewer frames"
                ) from None
            _log.debug("a network failed", exc_info=True)
            reason = (str(error).strip().splitlines() or ["no reason given"])[0][:200]
            raise GenerationError(
                f"{self.model.card.name} failed with {type(error).__name__}: {reason}; "
                "try other settings, REELGRID_LOG_LEVEL=DEBUG shows where"
            ) from error
