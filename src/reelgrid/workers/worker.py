"""A worker: asks the desk for work, works, asks again, until it is told to leave.

Not here: what happens to one job (`attempt`), and what starts a worker (`supervisor`, `__main__`).
"""

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
        info: What it tells the desk of itself, with the models in memory at this moment.
        wake: Is set when there may be work, or when it is to leave.
    """

    def __init__(
        self, context: WorkerContext, info: Callable[[], WorkerInfo], wake: threading.Event
    ) -> None:
        self._context = context
        self._info = info
        self._wake = wake
        self._wait_s = FIRST_WAIT_S
        self._claim: Claim | None = None
        self._can_reach = True

    def work(self) -> None:
        """Work until told to leave."""
        while not self._context.is_leaving():
            if not self.work_once():
                self._rest()

    def work_once(self) -> bool:
        """Do one job, if there is one; whether there was."""
        asked_at = self._context.clock()
        self._claim = self._ask()
        if self._claim is None:
            return False
        self._wait_s = FIRST_WAIT_S
        try:
            self._begin(self._claim, asked_at)
        finally:
            self._claim = None
        return True

    def give_up(self) -> None:
        """Give the job in hand back with its last save, from another thread, for ever."""
        claim = self._claim
        if claim is not None:
            self._context.trace.note("abandoned", job=claim.id, epoch=claim.epoch)
            with suppress(ReelgridError):
                self._context.job_queue.release(claim, "stopped")

    def _begin(self, claim: Claim, asked_at: float) -> None:
        """Work on a claim; a job that cannot even be read is failed."""
        try:
            attempt = Attempt(self._context, claim, asked_at)
        except (TypeError, ValueError, KeyError, ReelgridError) as error:
            _log.error("%s cannot be read: %s", claim.id, error, extra={"job": claim.id})
            with suppress(ReelgridError):
                self._context.job_queue.fail(claim, INTERNAL_ERROR, "its request cannot be read")
            return
        attempt.run()

    def _ask(self) -> Claim | None:
        try:
            claim = self._context.job_queue.claim(
                self._info(), lease_s=self._context.intervals.lease_s
            )
        except (JobQueueError, BusyError) as error:
            if self._can_reach:
                _log.warning("no work can be asked for: %s", error)
            self._can_reach = False
            return None
        self._can_reach = True
        return claim

    def _rest(self) -> None:
        """Wait a little longer each time, or until woken."""
        if self._wake.wait(self._wait_s):
            self._wake.clear()
            self._wait_s = FIRST_WAIT_S
        else:
            self._wait_s = min(2 * self._wait_s, MAX_WAIT_S)
