"""Queue position for many callers: a snapshot of the waiting jobs that is up to a second old.

Reading 100,000 waiting jobs takes a while, and every poll of every client asks for a position. So the
ranks are read once for all, in order, with the work left summed up along them; a position is then a
binary search. If taking a snapshot takes long, it is used longer: at most a twentieth of the time goes
into taking snapshots.
"""

import bisect
import threading
import time
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from reelgrid.jobs import policy
from reelgrid.jobs.accounting import QueuePosition
from reelgrid.jobs.job import Phase
from reelgrid.jobs.sql import schema
from reelgrid.jobs.sql.database import Database
from reelgrid.jobs.sql.preemption import known_workers

_FRESH_S = 1.0
_SHARE = 20
_JOB = schema.job.c


@dataclass(frozen=True, slots=True)
class _Snapshot:
    ranks: list[float]
    sums_s: list[float]  # one longer than `ranks`: the work before each of them
    running_s: float
    workers: tuple[policy.WorkerCapacity, ...]


class QueueSnapshots:
    """The latest snapshot of the waiting jobs, taken again when it is stale."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._snapshot: _Snapshot | None = None
        self._stale_at_s = 0.0

    def position(self, rank: float, memory_gib: float, model: str) -> QueuePosition:
        """Return the position of a job with this rank; jobs of the same rank are not ahead of it."""
        snapshot = self._current()
        num_ahead = bisect.bisect_left(snapshot.ranks, rank)
        job = policy.WaitingJob(
            id="", rank=rank, estimate_s=0.0, memory_gib=memory_gib, model=model
        )
        return QueuePosition(
            num_ahead=num_ahead,
            ahead_s=snapshot.sums_s[num_ahead],
            running_s=snapshot.running_s,
            num_workers=sum(policy.fits(worker, job) for worker in snapshot.workers),
        )

    def _current(self) -> _Snapshot:
        """Return the snapshot; while one caller takes a new one, the others use the old one."""
        snapshot = self._snapshot
        if snapshot is not None and time.monotonic() < self._stale_at_s:
            return snapshot
        if not self._lock.acquire(blocking=snapshot is None):
            assert snapshot is not None
            return snapshot
        try:
            return self._renew()
        finally:
            self._lock.release()

    def _renew(self) -> _Snapshot:
        began_s = time.monotonic()
        if self._snapshot is None or began_s >= self._stale_at_s:
            with self._database.read() as connection:
                self._snapshot = _take(self._database, connection)
            ended_s = time.monotonic()
            self._stale_at_s = ended_s + max(_FRESH_S, _SHARE * (ended_s - began_s))
        return self._snapshot


def _take(database: Database, connection: Connection) -> _Snapshot:
    left_s = schema.REMAINING_S
    waiting = connection.execute(
        select(_JOB.rank, left_s).where(schema.in_phase(Phase.WAITING)).order_by(_JOB.rank)
    ).all()
    sums_s = [0.0]
    for _, job_s in waiting:
        sums_s.append(sums_s[-1] + job_s)
    running_s = connection.execute(
        select(func.coalesce(func.sum(left_s), 0.0)).where(schema.in_phase(Phase.RUNNING))
    ).scalar_one()
    live = (each for each in known_workers(database, connection) if each.is_live)
    return _Snapshot(
        ranks=[rank for rank, _ in waiting],
        sums_s=sums_s,
        running_s=running_s,
        workers=tuple(each.info for each in live),
    )
