"""One attempt at a job: a claim, from loading its model to the row of the finished job.

In the end the job is finished, failed, released with a checkpoint, or, when it is no longer this
worker's, dropped.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from reelgrid.engine.generation import Generation
from reelgrid.errors import (
    DeviceMemoryError,
    GenerationError,
    ModelError,
    ModelMemoryError,
    ReelgridError,
    StaleClaim,
)
from reelgrid.jobs.job import FailureCode, Job, JobKind, Phase
from reelgrid.jobs.messages import Claim, JobProgress
from reelgrid.jobs.request import JobRequest
from reelgrid.media.provenance import provenance_of
from reelgrid.models.loading import LoadedModel
from reelgrid.workers.checkpoints import checkpoints_prefix, job_checkpointer
from reelgrid.workers.context import WorkerContext
from reelgrid.workers.lease import Lease, WorkerStopping
from reelgrid.workers.loop import JobStopped, StageTimer, StepLoop
from reelgrid.workers.previews import Previews, previews_prefix
from reelgrid.workers.results import ResultStore, may_retry
from reelgrid.workers.start import image_request, new_generation, restore

INTERNAL_ERROR = "internal_error"
STORE_RETRY_EVERY_S = 1.0
"""A worker whose files cannot be stored tries again this often,"""
STORE_RETRY_FOR_S = 3600.0
"""and for this long: then the job fails, so that its GPU is free for others."""

_log = logging.getLogger(__name__)

T = TypeVar("T")
Write = Callable[[], Job]


class Attempt:
    """A claim that is worked on.

    Args:
        context: What the worker works with.
        claim: The job.
        asked_at: When the claim was asked for, by the context's clock.
    """

    def __init__(self, context: WorkerContext, claim: Claim, asked_at: float) -> None:
        self._context = context
        self._claim = claim
        self._job_request = JobRequest.from_json(claim.job.request)
        self._has_stored = claim.epoch > 1  # some of its images may be stored
        self._timer = StageTimer(self._job_request.workload)
        self._lease = Lease(
            context.job_queue,
            claim,
            heartbeat_every_s=context.intervals.heartbeat_every_s,
            is_stopping=context.is_stopping,
            watchdog=context.watchdog,
            asked_at=asked_at,
            clock=context.clock,
            sleep=context.sleep,
        )

    def run(self) -> None:
        """Work on the job until it has ended, is released, or is no longer this worker's."""
        self._record("claimed", step=self._claim.checkpoint.step if self._claim.checkpoint else 0)
        log_fields = {"job": self._claim.id}
        try:
            with self._lease:
                job = self._lease.retry(self._work())
        except StaleClaim:
            self._record("dropped")
            _log.info("%s is no longer this worker's", self._claim.id, extra=log_fields)
        except WorkerStopping:
            self._record("dropped")
            _log.warning(
                "%s waits until its lease expires: the job queue cannot be reached",
                self._claim.id,
                extra=log_fields,
            )
        else:
            self._record(job.phase.value, code=job.error_code)
            self._clean_up(job)
        finally:
            self._context.watchdog.idle()

    def _work(self) -> Write:
        """Return the write that tells the job queue how it went; the generation is closed by then."""
        job_queue, claim = self._context.job_queue, self._claim
        try:
            files = self._make_or_evict()
        except (StaleClaim, WorkerStopping):
            raise
        except JobStopped as stopped:
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
        return lambda: job_queue.finish(claim, files, timing=self._timer.timing)

    def _failure(self, code: str, error: ReelgridError | str) -> Write:
        message = " ".join(str(error).split())
        _log.warning("%s failed: %s", self._claim.id, message, extra={"job": self._claim.id})
        return lambda: self._context.job_queue.fail(self._claim, code, message)

    def _make_or_evict(self) -> dict[str, str]:
        """Return the blobs of the finished files; short of memory, evict other models and try again."""
        while True:
            try:
                return self._make()
            except DeviceMemoryError:
                if not self._context.model_cache.evict(keep=self._claim.job.model):
                    raise
            self._lease.retry(self._reload_job)

    def _reload_job(self) -> None:
        """Read the checkpoints saved since the claim: those of the claim may be gone."""
        job = self._context.job_queue.get(self._claim.id)
        if (job.epoch, job.phase) != (self._claim.epoch, Phase.RUNNING):
            raise StaleClaim(f"{job.id} is no longer this worker's")
        self._claim = replace(self._claim, job=job)
        self._has_stored = True

    def _make(self) -> dict[str, str]:
        """Return the blobs of the finished files: a clip's, or those of all images of a series."""
        context, claim, job_request = self._context, self._claim, self._job_request
        context.watchdog.start_stage("load")  # of the checkpoint too
        model = self._load()
        results = ResultStore(
            context.blobs, claim, job_request, scratch=context.scratch, sign=context.sign
        )
        with job_checkpointer(context, self._lease) as checkpointer, self._previews() as previews:
            loop = StepLoop(
                context=context,
                lease=self._lease,
                job_request=job_request,
                checkpointer=checkpointer,
                previews=previews,
                timer=self._timer,
            )
            is_continued = self._has_stored and job_request.num_images > 1
            files = results.stored_images() if is_continued else {}
            restored = restore(context, claim, job_request, model, len(files))
            for number in range(len(files), job_request.num_images):
                files |= self._make_one(loop, results, model, number, restored)
                restored = None
            return files

    def _make_one(
        self,
        loop: StepLoop,
        results: ResultStore,
        model: LoadedModel,
        number: int,
        restored: tuple[Generation, int] | None,
    ) -> dict[str, str]:
        """Return the blobs of image `number`, or of the clip."""
        job_request = self._job_request
        provenance = replace(
            provenance_of(self._claim.job.model, image_request(job_request, number)),
            prompts_in_metadata=self._context.prompts_in_metadata,
        )
        if restored is None:
            start = partial(new_generation, self._context, job_request, model, number)
            restored = self._retry_storage(loop, start), 0
        generation, step = restored
        with generation:
            frames = loop.run(generation, number, step, provenance)
        self._context.watchdog.start_stage("write")
        if number == job_request.num_images - 1:
            self._lease.start_stage(JobProgress(stage="write", step=job_request.num_steps))
        with self._timer.measure("write"):
            if self._claim.job.kind is JobKind.VIDEO:
                store = partial(results.store_video, frames, provenance)
            else:
                store = partial(results.store_image, frames[0], number, provenance)
            return self._retry_storage(loop, store)

    def _load(self) -> LoadedModel:
        name, model_cache = self._claim.job.model, self._context.model_cache
        if name in model_cache.names:
            return model_cache.get(name)
        with self._timer.measure("load"):
            self._lease.start_stage(self._lease.progress)
            return model_cache.get(name)

    def _retry_storage(self, loop: StepLoop, store: Callable[[], T]) -> T:
        """Return what `store` returns; an error of storage that may pass is waited for.

        Raises:
            JobStopped: The job is to be released meanwhile.
            GenerationError: Storage has failed for `STORE_RETRY_FOR_S`, or for good.
            OSError: It failed for a reason that does not pass.
            ReelgridError: It failed for a reason that does not pass.
        """
        give_up_at = self._context.clock() + STORE_RETRY_FOR_S
        while True:
            try:
                return store()
            except (OSError, ReelgridError) as error:
                if not may_retry(error, self._context.scratch, self._context.blobs):
                    raise
                if self._context.clock() >= give_up_at:
                    minutes = STORE_RETRY_FOR_S / 60
                    raise GenerationError(
                        f"storage failed for {minutes:.0f} min: {error}"
                    ) from error
                _log.warning("%s waits for storage: %s", self._claim.id, error)
            self._context.watchdog.waiting()
            loop.stop_if_asked()
            self._context.sleep(STORE_RETRY_EVERY_S)

    def _previews(self) -> Previews:
        return Previews(
            self._context.blobs,
            self._context.scratch,
            may_write=lambda: self._lease.is_good,
            every_s=self._context.intervals.preview_every_s or math.inf,
            clock=self._context.clock,
        )

    def _clean_up(self, job: Job) -> None:
        """Delete the checkpoints, previews and unused files of a job that has ended."""
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
        except OSError as error:  # retention removes blobs that no row names
            _log.info("blobs of %s are left to retention: %s", job.id, error)

    def _record(self, event: str, **fields: object) -> None:
        claim = self._claim
        self._context.trace.record(event, job=claim.id, epoch=claim.epoch, **fields)
