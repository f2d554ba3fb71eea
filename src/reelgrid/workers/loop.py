"""The loop around one generation of a job: report, obey, save, show.

What happens at the edge of a step, in this order: progress is noted, the desk's wish is obeyed, the
state is saved if that is due, a preview is made if that is due. Not here: what is generated.
"""

from dataclasses import dataclass

from reelgrid.engine.generation import Generation, Progress
from reelgrid.jobs import messages
from reelgrid.jobs.messages import Command
from reelgrid.jobs.request import JobRequest, partial_blob
from reelgrid.media import Provenance
from reelgrid.workers.checkpoints import Saving
from reelgrid.workers.context import WorkerContext
from reelgrid.workers.lease import Lease
from reelgrid.workers.previews import Previews, previews_prefix
from reelgrid.workers.results import Frames
from reelgrid.workers.stopwatch import Stopwatch

_REASONS = {Command.PAUSE: "paused", Command.YIELD: "yielded"}


class Stopped(Exception):  # noqa: N818  # nothing went wrong
    """The job is to be given back, with the reason; its state is saved where that is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Iteration:
    """Iterates over the generations of one claim.

    Attributes:
        saving: Saves them.
        previews: Shows them.
        watch: Is told what each part took.
    """

    context: WorkerContext
    lease: Lease
    order: JobRequest
    saving: Saving
    previews: Previews
    watch: Stopwatch

    def frames(
        self, generation: Generation, number: int, step: int, provenance: Provenance
    ) -> Frames:
        """Return the frames of a generation, iterated to its end.

        Args:
            generation: New, or taken up.
            number: Of the image; 0 for a clip.
            step: Steps that it has behind it.
            provenance: For its previews.

        Raises:
            Stopped: The job is to be given back.
            StaleClaim: The job is no longer this worker's.
            GenerationError: It failed.
        """
        self.context.watchdog.enter("encode")
        self._enter("denoise" if step else "encode", number, step)
        for progress in generation:
            self._note(generation, progress, number)
            if progress.stage != "decode":
                done = self._before(number) + progress.step
                self._obey(generation, done)
                is_last = bool(done) and progress.step == progress.num_steps
                self.saving.save_if_due(generation, done, is_last=is_last)
                self._show(generation, progress, number, provenance)
        return generation.frames

    def obey_without_saving(self) -> None:
        """Stop if the desk or the worker wants it, where there is nothing new to save.

        Raises:
            Stopped: It is wanted.
        """
        reason = self._reason_to_stop()
        if reason is not None:
            raise Stopped(reason)

    def _obey(self, generation: Generation, step: int) -> None:
        reason = self._reason_to_stop()
        if reason is None:
            return
        if reason != Command.CANCEL:
            self.saving.save_now(generation, step)
        raise Stopped(reason)

    def _reason_to_stop(self) -> str | None:
        answer = self.lease.answer()
        if answer is Command.CANCEL:
            return Command.CANCEL
        return "stopped" if self.context.is_leaving() else _REASONS.get(answer)

    def _note(self, generation: Generation, progress: Progress, number: int) -> None:
        """Tell the desk, the watch, the journal and the pulse what was done."""
        timings, step = generation.timings, self._before(number) + progress.step
        if progress.stage == "denoise":
            claim = self.lease.claim
            self.context.trace.note("step", job=claim.id, epoch=claim.epoch, step=step)
            self.watch.add("step", timings.step_s[-1])
            self.context.watchdog.step(progress.step_s)
            self.lease.report(self._progress("denoise", step))
        else:
            self.watch.add(progress.stage, getattr(timings, f"{progress.stage}_s"))
        if progress.stage == "encode":
            self._enter("denoise", number, progress.step)
        elif progress.stage == "denoise" and progress.step == progress.num_steps:
            self.context.watchdog.enter("decode")
            self._enter("decode", number, progress.step)

    def _enter(self, stage: str, number: int, step: int) -> None:
        """Report a stage at once; but for the last image, they all count as denoising."""
        is_last = number == self.order.num_images - 1
        known = stage if is_last or (number == 0 and stage == "encode") else "denoise"
        self.lease.enter(self._progress(known, self._before(number) + step))

    def _progress(self, stage: str, step: int) -> messages.JobProgress:
        return messages.JobProgress(stage=stage, step=step, preview=self.previews.latest)

    def _show(
        self, generation: Generation, progress: Progress, number: int, provenance: Provenance
    ) -> None:
        claim = self.lease.claim
        partial = self._partial(progress)
        if partial is not None:
            blob = partial_blob(claim.id, number, partial)
            self.previews.make(generation, provenance, blob, is_kept=True)
        elif progress.step and self.previews.is_due:
            step = self._before(number) + progress.step
            blob = f"{previews_prefix(claim.id)}{claim.epoch:05}-{step:06}.webp"
            self.previews.make(generation, provenance, blob)

    def _partial(self, progress: Progress) -> int | None:
        """Return which partial image is due after this step: they are spread over the steps."""
        wanted = self.order.num_partial_images
        for number in range(wanted):
            at = max(1, (number + 1) * progress.num_steps // (wanted + 1))
            if progress.step == at and progress.stage == "denoise":
                return number
        return None

    def _before(self, number: int) -> int:
        return number * self.order.request.num_steps
