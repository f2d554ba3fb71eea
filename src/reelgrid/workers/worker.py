"""The worker's main loop: claim a job from the queue, work on it, claim the next, until asked to stop."""

import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from reelgrid.errors import BusyError, JobQueueError, ReelgridError
from reelgrid.jobs.messages import Claim, WorkerInfo
from reelgrid.workers.attempt import INTERNAL_ERROR, Attempt
from reelgrid.workers.context import WorkerContext

FIRST_WAIT_S = 0.02
MAX_WAIT_S = 0.5
"""A worker without work asks again after at most this long; the supervisor wakes it earlier."""

_log = logging.getLogger(__name__)


class Worker:
    """Takes one job after another.

    Args:
        context: What it works with.
        info: Describes it to the job queue, with the models in memory at this moment.
        wake: Set when there may be work, or when it is to stop.
    """

    def __init__(
        self, context: WorkerContext, info: Callable[[], WorkerInfo], wake: threading.Event
    ) -> None:
        self._context = context
        self._info = info
        self._wake = wake
        self._wait_s = FIRST_WAIT_S
        self._claim: Claim | None = None
        self._can_reach_queue = True

    def run(self) -> None:
        """Work until asked to stop."""
        while not self._context.is_stopping():
            if not self.run_once():
                self._wait()

    def run_once(self) -> bool:
        """Do one job, if there is one; whether there was."""
        asked_at = self._context.clock()
        self._claim = self._ask()
        if self._claim is None:
            return False
        self._wait_s = FIRST_WAIT_S
        try:
            self._work_on(self._claim, asked_at)
        finally:
            self._claim = None
        return True

    def abandon(self) -> None:
        """Release the job in hand with its last checkpoint, from another thread; the process ends then."""
        claim = self._claim
        if claim is not None:
            self._context.trace.record("abandoned", job=claim.id, epoch=claim.epoch)
            with suppress(ReelgridError):
                self._context.job_queue.release(claim, "stopped")

    def _work_on(self, claim: Claim, asked_at: float) -> None:
        """Work on a claim; a job whose request cannot be read is failed."""
        try:
            attempt = Attempt(self._context, claim, asked_at)
        except (TypeError, ValueError, KeyError, ReelgridError) as error:
            _log.error("%s cannot be read: %s", claim.id, error, extra={"job": claim.id})
            with suppress(ReelgridError):
                self._context.job_queue.fail(claim, INTERNAL_ERROR, "its request cannot be read")
            return
        attempt.run()

    def _ask(self) -> Claim | None:
        lease_s = self._context.intervals.lease_s
        try:
            claim = self._context.job_queue.claim(self._info(), lease_s=lease_s)
        except (JobQueueError, BusyError) as error:
            if self._can_reach_queue:
                _log.warning("the job queue cannot be asked for work: %s", error)
            self._can_reach_queue = False
            return None
        self._can_reach_queue = True
        return claim

    def _wait(self) -> None:
        """Wait a little longer each time, or until woken."""
        if self._wake.wait(self._wait_s):
            self._wake.clear()
            self._wait_s = FIRST_WAIT_S
        else:
            self._wait_s = min(2 * self._wait_s, MAX_WAIT_S)
