"""A worker's lease on its job, kept alive by heartbeats from a thread, and the watchdog over its work.

A lease is good until `lease_s` after the last answered heartbeat was *sent*, by this process's clock.
Past that the worker has no right to write: it sends heartbeats until the job queue answers, however
long that takes. Heartbeats stop when the main thread exceeds the time limit of its current stage: a
worker that hangs must not keep its job.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from reelgrid.errors import BusyError, JobQueueError, StaleClaim, StorageFullError
from reelgrid.jobs.messages import Claim, Command, JobProgress
from reelgrid.jobs.queue import WorkerQueue

POLL_EVERY_S = 0.05
"""Commands are polled between two steps at most this often,"""
POLL_SHARE = 0.02
"""and for no more than this share of the time."""
PROGRESS_EVERY_S = 1.0
"""With new progress to report a heartbeat comes early, at most this often."""

MAX_REFUSALS = 30
"""A queue that takes heartbeats and refuses one write so often, over a minute, refuses it for good."""

MIN_STEP_LIMIT_S = 600.0
"""A step may take this long,"""
STEP_LIMIT_FACTOR = 20.0
"""and this many times as long as the steps before it."""

STAGE_LIMITS_S = {
    "load": 6 * 3600.0,  # of a model that is downloaded first
    "encode": 3600.0,  # and the first step, which may be compiled
    "decode": 3600.0,
    "write": 3600.0,
}
"""How long each stage without steps may take."""

_FIRST_RETRY_S = 0.2
_MAX_RETRY_S = 2.0

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Watchdog:
    """When the last progress was made, and how long the next may take.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: tuple[float, float] | None = None

    def start_stage(self, stage: str) -> None:
        """Note that a stage without steps begins: one of `STAGE_LIMITS_S`."""
        self._last = self._clock(), STAGE_LIMITS_S[stage]

    def step_done(self, step_s: float | None) -> None:
        """Note that a denoising step is done and another follows.

        Args:
            step_s: Seconds that a step takes, if that is known.
        """
        self._last = self._clock(), max(MIN_STEP_LIMIT_S, STEP_LIMIT_FACTOR * (step_s or 0.0))

    def waiting(self) -> None:
        """Note that the work waits for the job queue or for storage, and does not hang."""
        if self._last is not None:
            self._last = self._clock(), self._last[1]

    def idle(self) -> None:
        """Note that there is no work, for however long."""
        self._last = None

    @property
    def is_alive(self) -> bool:
        """Whether what is being done is within its time limit."""
        last = self._last
        return last is None or self._clock() - last[0] < last[1]


class WorkerStopping(Exception):  # noqa: N818  # nothing went wrong
    """The worker is to stop while the job queue cannot be reached."""


class Lease:
    """A claim that is kept alive until the end of the `with` block.

    Args:
        job_queue: Where the claim was made.
        claim: The job.
        heartbeat_every_s: Seconds between heartbeats.
        is_stopping: Whether the worker is to stop: it then waits for nothing.
        watchdog: Without progress there are no heartbeats; it is informed of waiting.
        asked_at: When the claim was asked for, by the clock: the lease counts from then.
        clock: Monotonic seconds.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        job_queue: WorkerQueue,
        claim: Claim,
        *,
        heartbeat_every_s: float,
        is_stopping: Callable[[], bool] = lambda: False,
        watchdog: Watchdog | None = None,
        asked_at: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.claim = claim
        self._job_queue = job_queue
        self._heartbeat_every_s = heartbeat_every_s
        self._is_stopping = is_stopping
        self._watchdog = watchdog or Watchdog(clock)
        self._clock = clock
        self._sleep = sleep
        step = claim.checkpoint.step if claim.checkpoint else 0
        self._progress = JobProgress(stage="load", step=step)
        self._good_until = (clock() if asked_at is None else asked_at) + claim.lease_s
        self._reported: JobProgress | None = None
        self._poll_at = 0.0
        self._is_stale = False
        self._command = Command.CONTINUE
        self._has_ended = threading.Event()
        self._thread = threading.Thread(
            target=self._send_heartbeats, name=f"heartbeats-{claim.id}", daemon=True
        )

    def __enter__(self) -> "Lease":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._has_ended.set()
        self._thread.join()

    @property
    def is_good(self) -> bool:
        """Whether this process may still write: nobody else can have been given the job."""
        return not self._is_stale and self._clock() < self._good_until

    @property
    def progress(self) -> JobProgress:
        """The progress that the last heartbeat reported, or the next one will."""
        return self._progress

    def report(self, progress: JobProgress) -> None:
        """Have the next heartbeats report this progress."""
        self._progress = progress

    def start_stage(self, progress: JobProgress) -> None:
        """Report at once that a stage begins: lost workers are counted by stage.

        Raises:
            StaleClaim: The job is no longer this worker's.
        """
        self.report(progress)
        self.heartbeat()
        self._raise_if_stale()

    def command(self) -> Command:
        """Return the job queue's command, polled at most every `POLL_EVERY_S`.

        Raises:
            StaleClaim: The job is no longer this worker's: whatever was made of it is to be dropped.
            WorkerStopping: The queue does not answer, and the worker is to stop.
        """
        self._raise_if_stale()
        if not self.is_good:
            self._wait_for_queue()
        now = self._clock()
        if now >= self._poll_at:
            self._poll()
            after = self._clock()
            self._poll_at = after + max(POLL_EVERY_S, (after - now) / POLL_SHARE)
        self._raise_if_stale()
        return self._command

    def retry(self, write: Callable[[], T]) -> T:
        """Return what a write to the job queue returns, repeated until the queue can be reached.

        Raises:
            StaleClaim: The job is no longer this worker's.
            WorkerStopping: The queue does not answer, and the worker is to stop.
            JobQueueError: The queue answers, and refuses the write.
        """
        retry_s, num_refusals = _FIRST_RETRY_S, 0
        while True:
            if not self.is_good:
                self._wait_for_queue()
            try:
                return write()
            except BusyError as error:
                self._wait(retry_s, error)
            except JobQueueError as error:
                num_refusals += 1
                if num_refusals > MAX_REFUSALS and self.heartbeat():
                    raise
                self._wait(retry_s, error)
            retry_s = min(2 * retry_s, _MAX_RETRY_S)

    def heartbeat(self) -> bool:
        """Send one heartbeat and return whether the queue took it; a failed one is not repeated here."""
        sent_at, progress = self._clock(), self._progress
        try:
            self._command = self._job_queue.heartbeat(self.claim, progress)
        except StaleClaim:
            self._is_stale = True
        except (JobQueueError, BusyError) as error:
            _log.warning("%s: no heartbeat: %s", self.claim.id, error, extra={"job": self.claim.id})
        else:
            self._good_until, self._reported = sent_at + self.claim.lease_s, progress
            return True
        return False

    def mark_stale(self) -> None:
        """Note that a write was refused as stale, wherever that was."""
        self._is_stale = True

    def _send_heartbeats(self) -> None:
        silent_s, tick_s = 0.0, min(PROGRESS_EVERY_S, self._heartbeat_every_s)
        while not self._has_ended.wait(tick_s) and not self._is_stale:
            silent_s += tick_s
            has_news = self._progress != self._reported
            is_due = has_news or silent_s >= self._heartbeat_every_s
            if self._watchdog.is_alive and is_due and self.heartbeat():
                silent_s = 0.0

    def _poll(self) -> None:
        try:
            self._command = self._job_queue.poll_command(self.claim)
        except StaleClaim:
            self._is_stale = True
        except (JobQueueError, BusyError):
            pass  # the heartbeats log it, and count how long it lasts

    def _wait_for_queue(self) -> None:
        """Return when the queue has confirmed that the job is still this worker's."""
        retry_s = _FIRST_RETRY_S
        while True:
            self.heartbeat()
            self._raise_if_stale()
            if self.is_good:
                return
            self._wait(retry_s, None)
            retry_s = min(2 * retry_s, _MAX_RETRY_S)

    def _wait(self, retry_s: float, error: Exception | None) -> None:
        if self._is_stopping():
            raise WorkerStopping(self.claim.id)
        why = "has no disk space" if isinstance(error, StorageFullError) else "cannot be reached"
        _log.warning("%s waits: the job queue %s", self.claim.id, why, extra={"job": self.claim.id})
        self._watchdog.waiting()
        self._sleep(retry_s)

    def _raise_if_stale(self) -> None:
        if self._is_stale:
            raise StaleClaim(f"{self.claim.id} is no longer this worker's")
