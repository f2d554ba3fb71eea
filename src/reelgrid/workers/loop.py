"""The step loop of a job: report progress, obey the job queue's command, save, show.

Between two steps, in this order: progress is reported, the command is obeyed, a checkpoint is saved if
it is due, a preview is made if it is due.
"""

import logging
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from reelgrid.engine.checkpointer import Checkpointer
from reelgrid.engine.generation import Generation, Progress
from reelgrid.errors import GenerationError
from reelgrid.jobs.messages import Command, JobProgress, Timing
from reelgrid.jobs.request import JobRequest, partial_blob
from reelgrid.media import Provenance
from reelgrid.workers.context import WorkerContext
from reelgrid.workers.lease import Lease
from reelgrid.workers.previews import Previews, previews_prefix
from reelgrid.workers.results import Frames

NUM_COLD_STEPS = 1
"""The first steps of a claim run on cold caches; timings leave them out if there are others."""

_RELEASE_REASONS = {Command.PAUSE: "paused", Command.YIELD: "yielded"}

_log = logging.getLogger(__name__)


class JobStopped(Exception):  # noqa: N818  # nothing went wrong
    """The job is to be released, for the reason that is given; its checkpoint is saved if it needs one."""


@dataclass(slots=True)
class StageTimer:
    """Seconds that one claim took, by stage, for the machine's profile.

    Attributes:
        workload: What the times are comparable for.
    """

    workload: str
    _stages: dict[str, float] = field(default_factory=dict)
    _step_s: list[float] = field(default_factory=list)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time of the block to `stage`: load or write."""
        start = time.perf_counter()
        yield
        self.add(stage, time.perf_counter() - start)

    def add(self, stage: str, took_s: float) -> None:
        """Add seconds to a stage: load, encode, step, decode or write."""
        if stage == "step":
            self._step_s.append(took_s)
        else:
            self._stages[stage] = self._stages.get(stage, 0.0) + took_s

    @property
    def timing(self) -> Timing:
        """All stages that were measured."""
        warm = self._step_s[NUM_COLD_STEPS:] or self._step_s
        times = {f"{stage}_s": took_s for stage, took_s in self._stages.items()}
        step_s = statistics.mean(warm) if warm else None
        return Timing(workload=self.workload, step_s=step_s, **times)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLoop:
    """Runs the generations of one claim.

    Attributes:
        timer: Called with the time of each stage.
    """

    context: WorkerContext
    lease: Lease
    job_request: JobRequest
    checkpointer: Checkpointer
    previews: Previews
    timer: StageTimer

    def run(self, generation: Generation, number: int, step: int, provenance: Provenance) -> Frames:
        """Return the frames of a generation, after all its steps.

        Args:
            generation: New, or restored.
            number: Of the image; 0 for a clip.
            step: Steps that it has done.
            provenance: For its previews.

        Raises:
            JobStopped: The job is to be released.
            StaleClaim: The job is no longer this worker's.
            GenerationError: It failed.
        """
        self.context.watchdog.start_stage("encode")
        self._start_stage("denoise" if step else "encode", number, step)
        for progress in generation:
            self._report(generation, progress, number)
            if progress.stage != "decode":
                done = self._steps_before(number) + progress.step
                self._obey(generation, done)
                is_last = bool(done) and progress.step == progress.num_steps
                self.checkpointer.save_if_due(generation, done, is_last=is_last)
                self._show(generation, progress, number, provenance)
        return generation.frames

    def stop_if_asked(self) -> None:
        """Stop if the job queue or the worker asks for it, where there is nothing new to save.

        Raises:
            JobStopped: It is asked for.
        """
        reason = self._reason_to_stop()
        if reason is not None:
            raise JobStopped(reason)

    def _obey(self, generation: Generation, step: int) -> None:
        reason = self._reason_to_stop()
        if reason is None:
            return
        if reason != Command.CANCEL:
            try:
                self.checkpointer.save_now(generation, step)
            except GenerationError as error:  # the job resumes from the checkpoint before
                _log.warning("%s", error, extra={"job": self.lease.claim.id})
        raise JobStopped(reason)

    def _reason_to_stop(self) -> str | None:
        command = self.lease.command()
        if command is Command.CANCEL:
            return Command.CANCEL
        return "stopped" if self.context.is_stopping() else _RELEASE_REASONS.get(command)

    def _report(self, generation: Generation, progress: Progress, number: int) -> None:
        """Tell the job queue, the timer, the trace and the watchdog what was done."""
        timings, step = generation.timings, self._steps_before(number) + progress.step
        if progress.stage == "denoise":
            claim = self.lease.claim
            self.context.trace.record("step", job=claim.id, epoch=claim.epoch, step=step)
            self.timer.add("step", timings.step_s[-1])
            self.context.watchdog.step_done(progress.step_s)
            self.lease.report(self._job_progress("denoise", step))
        else:
            self.timer.add(progress.stage, getattr(timings, f"{progress.stage}_s"))
        if progress.stage == "encode":
            self._start_stage("denoise", number, progress.step)
        elif progress.stage == "denoise" and progress.step == progress.num_steps:
            self.context.watchdog.start_stage("decode")
            self._start_stage("decode", number, progress.step)

    def _start_stage(self, stage: str, number: int, step: int) -> None:
        """Report a stage at once; all but those of the last image count as denoising."""
        is_last = number == self.job_request.num_images - 1
        reported = stage if is_last or (number == 0 and stage == "encode") else "denoise"
        self.lease.start_stage(self._job_progress(reported, self._steps_before(number) + step))

    def _job_progress(self, stage: str, step: int) -> JobProgress:
        return JobProgress(stage=stage, step=step, preview=self.previews.latest)

    def _show(
        self, generation: Generation, progress: Progress, number: int, provenance: Provenance
    ) -> None:
        claim = self.lease.claim
        partial = self._partial_image_due(progress)
        if partial is not None:
            blob = partial_blob(claim.id, number, partial)
            self.previews.make(generation, provenance, blob, is_kept=True)
        elif progress.step and self.previews.is_due:
            step = self._steps_before(number) + progress.step
            blob = f"{previews_prefix(claim.id)}{claim.epoch:05}-{step:06}.webp"
            self.previews.make(generation, provenance, blob)

    def _partial_image_due(self, progress: Progress) -> int | None:
        """Return which partial image is due after this step: they are spread over the steps."""
        num_partial = self.job_request.num_partial_images
        for number in range(num_partial):
            at = max(1, (number + 1) * progress.num_steps // (num_partial + 1))
            if progress.step == at and progress.stage == "denoise":
                return number
        return None

    def _steps_before(self, number: int) -> int:
        return number * self.job_request.request.num_steps
