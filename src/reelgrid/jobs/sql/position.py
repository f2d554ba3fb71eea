"""How long the queue is before a job, for many who ask: a picture of it that is up to a second old.

Reading 100,000 waiting jobs takes a while, and every poll of every client asks for a place. So the
ranks are read once for all, in order, with the work that is left summed up along them; a place is
then a search in a list. The picture may be older when taking it took long: at most a twentieth of
the time goes into it.
"""

import bisect
import threading
import time
from dataclasses import dataclass

from sqlalchemy import Connection, case, func, select

from reelgrid.jobs import policy
from reelgrid.jobs.accounting import QueuePosition
from reelgrid.jobs.job import Phase
from reelgrid.jobs.sql import schema
from reelgrid.jobs.sql.database import Database
from reelgrid.jobs.sql.preemption import known_workers

_FRESH_S = 1.0
_SHARE = 20
_JOB = schema.job.c

REMAINING_S = _JOB.estimate_s * (
    1 - case((_JOB.num_steps > 0, _JOB.step * 1.0 / _JOB.num_steps), else_=0.0)
)
"""Seconds of work that are left in a job; `rows.remaining_s` in SQL."""


@dataclass(frozen=True, slots=True)
class _Picture:
    ranks: list[float]
    sums_s: list[float]  # one longer: the work before each rank
    running_s: float
    workers: tuple[policy.WorkerCapacity, ...]


class Queue:
    """The waiting jobs by rank, as they were a moment ago."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._picture: _Picture | None = None
        self._stale_at_s = 0.0

    def queue_position(self, *, rank: float, memory_gib: float, model: str) -> QueuePosition:
        """Return the place of a job with this rank; those of the same rank are not before it."""
        picture = self._current()
        num_ahead = bisect.bisect_left(picture.ranks, rank)
        job = policy.WaitingJob(
            id="", rank=rank, estimate_s=0.0, memory_gib=memory_gib, model=model
        )
        return QueuePosition(
            num_ahead=num_ahead,
            ahead_s=picture.sums_s[num_ahead],
            running_s=picture.running_s,
            num_workers=sum(policy.fits(worker, job) for worker in picture.workers),
        )

    def _current(self) -> _Picture:
        """Return the picture; while one caller takes a new one, the others see the old one."""
        picture = self._picture
        if picture is not None and time.monotonic() < self._stale_at_s:
            return picture
        if not self._lock.acquire(blocking=picture is None):
            assert picture is not None
            return picture
        try:
            return self._renew()
        finally:
            self._lock.release()

    def _renew(self) -> _Picture:
        began_s = time.monotonic()
        if self._picture is None or began_s >= self._stale_at_s:
            with self._database.read() as connection:
                self._picture = _take(self._database, connection)
            ended_s = time.monotonic()
            self._stale_at_s = ended_s + max(_FRESH_S, _SHARE * (ended_s - began_s))
        return self._picture


def _take(database: Database, connection: Connection) -> _Picture:
    waiting = connection.execute(
        select(_JOB.rank, REMAINING_S).where(schema.in_phase(Phase.WAITING)).order_by(_JOB.rank)
    ).all()
    sums_s = [0.0]
    for _, left_s in waiting:
        sums_s.append(sums_s[-1] + left_s)
    running_s = connection.execute(
        select(func.coalesce(func.sum(REMAINING_S), 0.0)).where(schema.in_phase(Phase.RUNNING))
    ).scalar_one()
    live = (each for each in known_workers(database, connection) if each.is_live)
    return _Picture(
        ranks=[rank for rank, _ in waiting],
        sums_s=sums_s,
        running_s=running_s,
        workers=tuple(each.info.for_policy for each in live),
    )
