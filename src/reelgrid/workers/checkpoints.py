"""Saves a job while its steps go on: snapshot, then the blob, then the desk's row.

Only the snapshot stops the steps; checksum, file, upload and row happen on a thread of their own,
one state at a time. Not here: what a state holds (`engine`), and which states a row refers to (the
desk: the newest two).
"""

import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from reelgrid.engine.checkpoint import Checkpoint, write_checkpoint
from reelgrid.engine.generation import Generation
from reelgrid.errors import GenerationError, StaleClaim
from reelgrid.jobs.queue import WorkerQueue
from reelgrid.store.blobs import Blobs
from reelgrid.workers.interval import save_interval_s
from reelgrid.workers.journal import Trace
from reelgrid.workers.lease import Lease

LAST_SHARE = 0.25
"""After the last step a state is saved when this share of the interval has passed."""
NUM_COSTS = 5
"""What a save costs is the least of so many: on a busy machine most of them measure the others."""

_log = logging.getLogger(__name__)


def checkpoints_prefix(job_id: str) -> str:
    """Return what the names of a job's saved states begin with."""
    return f"checkpoints/{job_id}/"


class Saving:
    """Saves the generations of one claim, until the end of the `with` block.

    Args:
        job_queue: Where the row is.
        blobs: Where the states go.
        lease: The worker's hold on the job; a stale one writes nothing.
        scratch: Folder for the state before it is a blob.
        trace: Is told of every save.
        every_s: Seconds from one snapshot to the next, as wished.
        between_failures_s: Mean time between failures, for Daly's rule.
        losses: Workers that the job has lost without getting further.
        clock: Seconds from any beginning, never set back.
    """

    def __init__(
        self,
        job_queue: WorkerQueue,
        blobs: Blobs,
        lease: Lease,
        *,
        scratch: Path,
        trace: Trace,
        every_s: float,
        between_failures_s: float,
        losses: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job_queue = job_queue
        self._blobs = blobs
        self._lease = lease
        self._scratch = scratch
        self._trace = trace
        self._every_s = every_s
        self._between_failures_s = between_failures_s
        self._losses = losses
        self._clock = clock
        self._costs_s = deque([0.0], maxlen=NUM_COSTS)  # the smallest counts: noise only adds
        self._saved_at = clock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="saving")
        self._writing: Future[None] | None = None

    def __enter__(self) -> "Saving":
        return self

    def __exit__(self, *_error: object) -> None:
        try:
            self.settle()
        finally:
            self._thread.shutdown(wait=True)

    @property
    def interval_s(self) -> float:
        """Seconds from one snapshot to the next, by what the last one cost."""
        return save_interval_s(
            self._every_s, min(self._costs_s), self._between_failures_s, losses=self._losses
        )

    def save_if_due(self, generation: Generation, step: int, *, is_last: bool = False) -> None:
        """Begin to save, if it is time and the last state is written.

        Args:
            generation: Between two steps.
            step: Steps of the whole job that are done.
            is_last: Whether all steps are done: then it is time earlier, so that a worker that dies
                while it decodes and writes has nothing to compute again.
        """
        wait_s = self.interval_s * (LAST_SHARE if is_last else 1.0)
        if self._clock() < self._saved_at + wait_s or self._is_writing:
            return
        self.settle()
        self._writing = self._begin(generation, step)

    def save_now(self, generation: Generation, step: int) -> None:
        """Save, and return when it is done; a disk or desk that refuses is said, not raised."""
        self.settle()
        self._writing = self._begin(generation, step)
        self.settle()

    def settle(self) -> None:
        """Return when the state that is being written is written."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    @property
    def _is_writing(self) -> bool:
        return self._writing is not None and not self._writing.done()

    def _begin(self, generation: Generation, step: int) -> "Future[None] | None":
        self._saved_at = self._clock()
        try:
            saved = generation.snapshot()
        except GenerationError as error:  # something in it has no form in a file
            self._say(step, error)
            return None
        self._costs_s.append(self._clock() - self._saved_at)
        return self._thread.submit(self._write, saved, step, self._saved_at)

    def _write(self, saved: Checkpoint, step: int, began_at: float) -> None:
        """Write blob and row; what cannot be saved is said and the work goes on without."""
        claim = self._lease.claim
        blob = f"{checkpoints_prefix(claim.id)}{claim.epoch:05}-{step:06}.safetensors"
        try:
            self._upload(saved, blob)
            if not self._lease.is_good:
                self._blobs.delete(blob)
                return
            unneeded = self._job_queue.save_checkpoint(claim, blob, step)
            took_s = round(self._clock() - began_at, 4)
            self._trace.note("saved", job=claim.id, epoch=claim.epoch, step=step, took_s=took_s)
            for name in unneeded:
                self._blobs.delete(name)
        except StaleClaim:
            self._lease.lose()
            self._blobs.delete(blob)
        except Exception as error:  # noqa: BLE001  # a store at a distance has errors of its own
            self._say(step, error)

    def _upload(self, saved: Checkpoint, blob: str) -> None:
        file = self._scratch / Path(blob).name
        try:
            write_checkpoint(file, saved)
            self._blobs.put(blob, file)
        finally:
            file.unlink(missing_ok=True)

    def _say(self, step: int, error: Exception) -> None:
        job = self._lease.claim.id
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        _log.warning("%s is not saved at step %d: %s", job, step, reason, extra={"job": job})
