"""One claim: a job in a worker's hands, from loading its model to the row of the finished job.

Whatever ends it, the job is finished, failed, given back with a saved state, or, when it is no
longer this worker's, dropped. Not here: which job is taken, and when (`worker`).
"""

import logging
import math
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import TypeVar

from reelgrid.errors import (
    DeviceMemoryError,
    ModelError,
    ModelMemoryError,
    ReelgridError,
    StaleClaim,
)
from reelgrid.jobs.job import FailureCode, Job, JobKind, Phase
from reelgrid.jobs.messages import Claim, JobProgress
from reelgrid.jobs.request import JobRequest, file_variant
from reelgrid.media.provenance import provenance_of
from reelgrid.models.loading import LoadedModel
from reelgrid.workers.checkpoints import Saving, checkpoints_prefix
from reelgrid.workers.context import WorkerContext
from reelgrid.workers.lease import Lease, Leaving
from reelgrid.workers.loop import Iteration, Stopped
from reelgrid.workers.previews import Previews, previews_prefix
from reelgrid.workers.results import Delivery
from reelgrid.workers.room import passes
from reelgrid.workers.start import Opening
from reelgrid.workers.stopwatch import Stopwatch

INTERNAL_ERROR = "internal_error"
ROOM_EVERY_S = 1.0
"""A worker that finds no room for its files tries again this often."""

_log = logging.getLogger(__name__)

T = TypeVar("T")
Write = Callable[[], Job]


class Attempt:
    """A claim that is worked on.

    Args:
        context: What the worker has.
        claim: The job.
        asked_at: When it was asked for, by the place's clock.
    """

    def __init__(self, context: WorkerContext, claim: Claim, asked_at: float) -> None:
        self._context = context
        self._claim = claim
        self._order = JobRequest.from_json(claim.job.request)
        self._is_begun = claim.epoch > 1  # something of it may be stored
        self._watch = Stopwatch(self._order.workload)
        self._lease = Lease(
            context.job_queue,
            claim,
            heartbeat_every_s=context.intervals.heartbeat_every_s,
            is_leaving=context.is_leaving,
            watchdog=context.watchdog,
            asked_at=asked_at,
            clock=context.clock,
            sleep=context.sleep,
        )

    def run(self) -> None:
        """Work on the job until it is at its end, or somebody else's."""
        self._note("claimed", step=self._claim.checkpoint.step if self._claim.checkpoint else 0)
        try:
            with self._lease:
                job = self._lease.insist(self._work())
        except StaleClaim:
            self._note("dropped")
            _log.info("%s is somebody else's now", self._claim.id, extra={"job": self._claim.id})
        except Leaving:
            self._note("dropped")
            _log.warning(
                "%s is left to its lease: the desk cannot be reached",
                self._claim.id,
                extra={"job": self._claim.id},
            )
        else:
            self._note(job.phase.value, code=job.error_code)
            self._tidy(job)
        finally:
            self._context.watchdog.rest()

    def _work(self) -> Write:
        """Return what the desk is to be told of how it went; nothing of the job is held any more."""
        job_queue, claim = self._context.job_queue, self._claim
        try:
            files = self._make_with_room()
        except (StaleClaim, Leaving):
            raise
        except Stopped as stopped:
            reason = str(stopped)
            return lambda: job_queue.release(claim, reason)
        except (DeviceMemoryError, ModelMemoryError) as error:
            return self._failure(FailureCode.OUT_OF_MEMORY, error)
        except ModelError as error:
            return self._failure(FailureCode.MODEL_UNAVAILABLE, error)
        except ReelgridError as error:
            return self._failure(FailureCode.GENERATION_FAILED, error)
        except Exception as error:  # noqa: BLE001  # the job is marked, the next one comes
            _log.exception("%s failed unexpectedly", claim.id, extra={"job": claim.id})
            return self._failure(INTERNAL_ERROR, type(error).__name__)
        return lambda: job_queue.finish(claim, files, timing=self._watch.timing)

    def _failure(self, code: str, error: ReelgridError | str) -> Write:
        message = " ".join(str(error).split())
        _log.warning("%s failed: %s", self._claim.id, message, extra={"job": self._claim.id})
        return lambda: self._context.job_queue.fail(self._claim, code, message)

    def _make_with_room(self) -> dict[str, str]:
        """Return the blobs of the finished files; short of memory, other models make room first."""
        while True:
            try:
                return self._make()
            except DeviceMemoryError:
                if not self._context.model_cache.unload_idle(keep=self._claim.job.model):
                    raise
            self._lease.insist(self._look_again)

    def _look_again(self) -> None:
        """Read what has been saved since the claim: the states of then may be gone."""
        job = self._context.job_queue.get(self._claim.id)
        if (job.epoch, job.phase) != (self._claim.epoch, Phase.RUNNING):
            raise StaleClaim(f"{job.id} is no longer this worker's")
        self._claim = replace(self._claim, job=job)
        self._is_begun = True

    def _make(self) -> dict[str, str]:
        context, claim = self._context, self._claim
        context.watchdog.enter("load")  # of the saved state too
        model = self._load()
        delivery = Delivery(
            context.blobs, claim, self._order, scratch=context.scratch, sign=context.sign
        )
        with self._saving() as saving, self._previews() as previews:
            iteration = Iteration(
                context=context,
                lease=self._lease,
                order=self._order,
                saving=saving,
                previews=previews,
                watch=self._watch,
            )
            return self._make_all(iteration, model, delivery)

    def _make_all(
        self, iteration: Iteration, model: LoadedModel, delivery: Delivery
    ) -> dict[str, str]:
        """Return the blobs of a clip's files, or of all images, the stored ones among them."""
        is_continued = self._is_begun and self._order.num_images > 1
        files = delivery.images_so_far() if is_continued else {}
        files = {name: blob for name, blob in files.items() if name in self._series(files)}
        opening = Opening(self._context, self._claim, self._order, model)
        opening.take_up(len(files))
        for number in range(len(files), self._order.num_images):
            files |= self._make_one(iteration, opening, delivery, number)
        return files

    def _make_one(
        self, iteration: Iteration, opening: Opening, delivery: Delivery, number: int
    ) -> dict[str, str]:
        provenance = replace(
            provenance_of(self._claim.job.model, opening.request(number)),
            prompts_in_metadata=self._context.intervals.prompts_in_metadata,
        )
        with ExitStack() as held:
            generation, step = self._patiently(
                iteration, lambda: held.enter_context(opening.open(number))
            )
            frames = iteration.frames(generation, number, step, provenance)
        self._context.watchdog.enter("write")
        if number == self._order.num_images - 1:
            self._lease.enter(JobProgress(stage="write", step=self._order.num_steps))
        with self._watch.measure("write"):
            if self._claim.job.kind is JobKind.VIDEO:
                return self._patiently(iteration, lambda: delivery.video(frames, provenance))
            return self._patiently(iteration, lambda: delivery.image(frames[0], number, provenance))

    def _load(self) -> LoadedModel:
        name, model_cache = self._claim.job.model, self._context.model_cache
        if name in model_cache.names:
            return model_cache.take(name)
        with self._watch.measure("load"):
            self._lease.enter(self._lease.progress)
            return model_cache.take(name)

    def _patiently(self, iteration: Iteration, store: Callable[[], T]) -> T:
        """Return what `store` returns; while a store refuses, the frames are kept and it waits.

        Raises:
            Stopped: The job is to be given back meanwhile.
            OSError: It failed for another reason.
            ReelgridError: It failed for another reason.
        """
        while True:
            try:
                return store()
            except (OSError, ReelgridError) as error:
                if not passes(error, self._context.scratch, self._context.blobs):
                    raise
                _log.warning("%s waits for room: %s", self._claim.id, error)
            self._context.watchdog.wait()
            iteration.obey_without_saving()
            self._context.sleep(ROOM_EVERY_S)

    def _saving(self) -> Saving:
        intervals = self._context.intervals
        return Saving(
            self._context.job_queue,
            self._context.blobs,
            self._lease,
            scratch=self._context.scratch,
            trace=self._context.trace,
            every_s=intervals.checkpoint_every_s,
            between_failures_s=intervals.between_failures_s,
            losses=self._claim.job.losses,
            clock=self._context.clock,
        )

    def _previews(self) -> Previews:
        return Previews(
            self._context.blobs,
            self._context.scratch,
            may_write=lambda: self._lease.is_good,
            every_s=self._context.intervals.preview_every_s or math.inf,
            clock=self._context.clock,
        )

    def _series(self, stored: dict[str, str]) -> list[str]:
        """Return the names of the stored images from the first on, up to the first that is missing."""
        names = [file_variant(number) for number in range(self._order.num_images)]
        num_stored = next((i for i, name in enumerate(names) if name not in stored), len(names))
        return names[:num_stored]

    def _tidy(self, job: Job) -> None:
        """Remove the saved states, and what was made in vain, of a job that is at its end."""
        if not job.phase.is_final:
            return
        prefixes = [checkpoints_prefix(job.id), previews_prefix(job.id)]
        if job.phase is Phase.FAILED:
            prefixes.append(f"files/{job.id}/")
        try:
            for prefix in prefixes:
                for blob in self._context.blobs.list(prefix):
                    if job.phase is Phase.FAILED or "/partial-" not in blob.name:
                        self._context.blobs.delete(blob.name)
        except OSError as error:  # a sweep finds what no row refers to
            _log.info("blobs of %s are left to the sweep: %s", job.id, error)

    def _note(self, event: str, **fields: object) -> None:
        claim = self._claim
        self._context.trace.note(event, job=claim.id, epoch=claim.epoch, **fields)
