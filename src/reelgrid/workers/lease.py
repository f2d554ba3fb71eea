"""A worker's hold on its job: beats from a thread, and the desk's wishes at the edge of a step.

A lease is good until `lease_s` after the last beat that the desk answered was sent, by this
process's clock. A worker that is past that has no right to write: it asks once more, and waits for
the desk's answer as long as that takes. Not here: what is done about a wish.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from reelgrid.errors import BusyError, JobQueueError, StaleClaim, StorageFullError
from reelgrid.jobs.messages import Claim, Command, JobProgress
from reelgrid.jobs.queue import WorkerQueue
from reelgrid.workers.pulse import Watchdog

ASK_EVERY_S = 0.05
"""The desk's wishes are read at the edge of a step at most this often,"""
ASK_SHARE = 0.02
"""and for no more than this share of the time."""
TELL_EVERY_S = 1.0
"""A beat comes early, at most this often, when there is something new to tell."""

MAX_REFUSALS = 30
"""A desk that takes beats and refuses a write so often, over a minute, refuses it for ever."""

_FIRST_RETRY_S = 0.2
_MAX_RETRY_S = 2.0

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Leaving(Exception):  # noqa: N818  # nothing went wrong
    """The worker is to leave while the desk cannot be reached."""


class Lease:
    """A claim that is kept alive until the end of the `with` block.

    Args:
        job_queue: Where the claim was made.
        claim: The job.
        heartbeat_every_s: Seconds from one beat to the next.
        is_leaving: Whether the worker is to leave: it then waits for nothing.
        watchdog: Whether the work goes on; without that there are no beats. It is told of waiting.
        asked_at: When the claim was asked for, by the clock: the lease counts from then.
        clock: Seconds from any beginning, never set back.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        job_queue: WorkerQueue,
        claim: Claim,
        *,
        heartbeat_every_s: float,
        is_leaving: Callable[[], bool] = lambda: False,
        watchdog: Watchdog | None = None,
        asked_at: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.claim = claim
        self._job_queue = job_queue
        self._heartbeat_every_s = heartbeat_every_s
        self._is_leaving = is_leaving
        self._watchdog = watchdog or Watchdog(clock)
        self._clock = clock
        self._sleep = sleep
        self._progress = JobProgress(
            stage="load", step=claim.checkpoint.step if claim.checkpoint else 0
        )
        self._good_until = (clock() if asked_at is None else asked_at) + claim.lease_s
        self._told: JobProgress | None = None
        self._ask_at = 0.0
        self._is_stale = False
        self._wish = Command.CONTINUE
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name=f"beats-{claim.id}", daemon=True)

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
        """What was reported last, or will be at the next beat."""
        return self._progress

    def report(self, progress: JobProgress) -> None:
        """Have the next beats say how far the job has got."""
        self._progress = progress

    def enter(self, progress: JobProgress) -> None:
        """Tell the desk at once that another stage begins: deaths are counted by stage.

        Raises:
            StaleClaim: The job is no longer this worker's.
        """
        self.report(progress)
        self.heartbeat()
        self._raise_if_stale()

    def answer(self) -> Command:
        """Return what the desk wants, asked at most every `ASK_EVERY_S`.

        Raises:
            StaleClaim: The job is no longer this worker's: whatever was made of it is to be dropped.
            Leaving: The desk does not answer, and the worker is to leave.
        """
        self._raise_if_stale()
        if not self.is_good:
            self._wait_for_desk()
        now = self._clock()
        if now >= self._ask_at:
            self._ask()
            after = self._clock()
            self._ask_at = after + max(ASK_EVERY_S, (after - now) / ASK_SHARE)
        self._raise_if_stale()
        return self._wish

    def insist(self, write: Callable[[], T]) -> T:
        """Return what a write to the desk returns, tried until the desk can be reached.

        Raises:
            StaleClaim: The job is no longer this worker's.
            Leaving: The desk does not answer, and the worker is to leave.
            JobQueueError: The desk answers, and will not have it.
        """
        retry_s, num_refusals = _FIRST_RETRY_S, 0
        while True:
            if not self.is_good:
                self._wait_for_desk()
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
        """Beat once and return whether the desk took it; if not, that is left for the next time."""
        sent_at, told = self._clock(), self._progress
        try:
            self._wish = self._job_queue.heartbeat(self.claim, told)
        except StaleClaim:
            self._is_stale = True
        except (JobQueueError, BusyError) as error:
            _log.warning("%s: no beat: %s", self.claim.id, error, extra={"job": self.claim.id})
        else:
            self._good_until, self._told = sent_at + self.claim.lease_s, told
            return True
        return False

    def lose(self) -> None:
        """Note that a write was refused as stale, wherever that was."""
        self._is_stale = True

    def _go_on(self) -> None:
        quiet_s, turn_s = 0.0, min(TELL_EVERY_S, self._heartbeat_every_s)
        while not self._has_ended.wait(turn_s) and not self._is_stale:
            quiet_s += turn_s
            has_news = self._progress != self._told
            is_due = has_news or quiet_s >= self._heartbeat_every_s
            if self._watchdog.is_well and is_due and self.heartbeat():
                quiet_s = 0.0

    def _ask(self) -> None:
        try:
            self._wish = self._job_queue.poll_command(self.claim)
        except StaleClaim:
            self._is_stale = True
        except (JobQueueError, BusyError):
            pass  # the beats say so, and count how long it lasts

    def _wait_for_desk(self) -> None:
        """Return when the desk has confirmed that the job is still this worker's."""
        retry_s = _FIRST_RETRY_S
        while True:
            self.heartbeat()
            self._raise_if_stale()
            if self.is_good:
                return
            self._wait(retry_s, None)
            retry_s = min(2 * retry_s, _MAX_RETRY_S)

    def _wait(self, retry_s: float, error: Exception | None) -> None:
        if self._is_leaving():
            raise Leaving(self.claim.id)
        kind = "full" if isinstance(error, StorageFullError) else "out of reach"
        _log.warning("%s waits: the desk is %s", self.claim.id, kind, extra={"job": self.claim.id})
        self._watchdog.wait()
        self._sleep(retry_s)

    def _raise_if_stale(self) -> None:
        if self._is_stale:
            raise StaleClaim(f"{self.claim.id} is no longer this worker's")
