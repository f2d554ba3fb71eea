"""Preemption: which running job yields to which waiting one, marked on its row in the same transaction.

One victim for each waiting job, and none while an idle worker could take the job: one short job does not
make all workers yield. A running job is marked only if its worker would then take that very job. Decided
when a job begins to wait, and at every heartbeat of a running one.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    RowMapping,
    Select,
    bindparam,
    select,
    update,
)

from reelgrid.jobs import policy
from reelgrid.jobs.job import Phase, Requested
from reelgrid.jobs.messages import KnownWorker
from reelgrid.jobs.sql import schema
from reelgrid.jobs.sql.claim import WorkerShape, best_job, parameters_of, shape_of
from reelgrid.jobs.sql.database import Database

IDLE_S = 3.0
"""A worker without a job that has not claimed for this long is not counted as idle."""

KNOWN_S = 60.0
"""A worker without a job that has not claimed for this long is considered gone."""

_JOB = schema.job.c
_BY_ID = select(schema.job).where(_JOB.id == bindparam("job_id"))
_FREE = (
    select(_JOB.id)
    .where(_JOB.id == bindparam("job_id"), schema.in_phase(Phase.RUNNING), _JOB.requested.is_(None))
    .with_for_update(skip_locked=True)
)
_MARK = (
    update(schema.job)
    .where(_JOB.id == bindparam("job_id"))
    .values(requested=str(Requested.YIELD), yields_for=bindparam("waiting_id"))
)
_UNMARK = (
    update(schema.job)
    .where(
        _JOB.yields_for == bindparam("job_id"),
        schema.in_phase(Phase.RUNNING),
        _JOB.requested == Requested.YIELD,
    )
    .values(requested=None, yields_for=None)
)


def consider_waiting(database: Database, connection: Connection, row: RowMapping) -> None:
    """Mark the running job that yields to one that has begun to wait, if there is one."""
    behind = _running_behind(database, connection, row["rank"])
    if not behind:
        return
    waiting = schema.to_waiting(row)
    known = known_workers(database, connection)
    victim = _find_victim(behind, waiting, known)
    if victim is None:
        return
    if _next_for(database, connection, known, _read(connection, victim)) == waiting.id:
        _mark(connection, victim, waiting.id)


def consider_running(database: Database, connection: Connection, row: RowMapping) -> bool:
    """Return whether a running job was marked to yield now.

    Call it only if a job with a lower rank waits: a running job yields to no other.

    Args:
        database: Where the rows are.
        connection: In a transaction that holds the row.
        row: Of the running job, at least its id, worker and model; nothing is requested of it.
    """
    known = known_workers(database, connection)
    next_id = _next_for(database, connection, known, row)
    if next_id is None:
        return False
    waiting = schema.to_waiting(_read(connection, next_id))
    behind = _running_behind(database, connection, waiting.rank)
    if _find_victim(behind, waiting, known) != row["id"]:
        return False
    return _mark(connection, row["id"], next_id)


def _find_victim(
    running: Sequence[RowMapping], waiting: policy.WaitingJob, known: list[KnownWorker]
) -> str | None:
    """Return the id of the running job that yields, unless an idle worker fits."""
    if any(each.is_idle and policy.fits(each.info, waiting) for each in known):
        return None
    infos = {each.info.id: each.info for each in known}
    victim = policy.choose_victim(
        (schema.to_running(row, infos[row["worker"]]) for row in running if row["worker"] in infos),
        waiting,
    )
    return None if victim is None else victim.id


def unmark(connection: Connection, job_id: str) -> None:
    """Clear the mark of the job that was to yield to a job that no longer waits."""
    connection.execute(_UNMARK, {"job_id": job_id})


def known_workers(database: Database, connection: Connection) -> list[KnownWorker]:
    """Return the workers with a job under a lease, or that have claimed within `KNOWN_S`."""
    busy = set(connection.execute(database.prepared(_at_work)).scalars())
    found = connection.execute(database.prepared(_heard_of)).mappings().all()
    return [
        schema.to_worker(row, is_live=row["id"] in busy or row["silent_s"] < IDLE_S)
        for row in found
        if row["id"] in busy or row["silent_s"] < KNOWN_S
    ]


def _at_work(database: Database) -> Select[str | None]:
    return select(_JOB.worker).where(
        schema.in_phase(Phase.RUNNING), _JOB.lease_until > database.now
    )


def _heard_of(database: Database) -> Select[Any]:
    entry = schema.worker
    return select(entry, (database.now - entry.c.seen_at).label("silent_s"))


def _running_behind(
    database: Database, connection: Connection, rank: float
) -> Sequence[RowMapping]:
    """Return the running jobs with a higher rank of which nothing is requested yet."""
    found = connection.execute(database.prepared(_behind), {"of_rank": rank})
    return found.mappings().all()


def _behind(database: Database) -> Select[Any]:
    columns = (_JOB.id, _JOB.rank, _JOB.estimate_s, _JOB.step, _JOB.num_steps, _JOB.model)
    return select(*columns, _JOB.worker).where(
        schema.in_phase(Phase.RUNNING),
        _JOB.requested.is_(None),
        _JOB.lease_until > database.now,
        _JOB.rank > bindparam("of_rank", type_=Float()),
    )


def _next_for(
    database: Database, connection: Connection, known: list[KnownWorker], running: RowMapping
) -> str | None:
    """Return the waiting job that the worker of a running one would take if it was idle.

    Its model counts as warm, and jobs that another running job already yields to are left out.
    """
    infos = {each.info.id: each.info for each in known}
    info = infos.get(running["worker"])
    if info is None:
        return None
    warmed = replace(info, warm_models=info.warm_models | {running["model"]})
    statement = database.prepared(_next, shape_of(warmed))
    found: str | None = connection.execute(statement, parameters_of(warmed)).scalar_one()
    return found


def _next(_database: Database, shape: WorkerShape) -> Select[Any]:
    return select(best_job(shape, without=_has_victim()))


def _has_victim() -> ColumnElement[bool]:
    victim = schema.job.alias("victim")
    running = select(victim.c.yields_for).where(victim.c.yields_for.is_not(None))
    return _JOB.id.in_(running.scalar_subquery())


def _read(connection: Connection, job_id: str) -> RowMapping:
    return connection.execute(_BY_ID, {"job_id": job_id}).mappings().one()


def _mark(connection: Connection, victim_id: str, waiting_id: str) -> bool:
    """Mark a running job, unless another transaction has locked it: its next heartbeat decides then."""
    if connection.execute(_FREE, {"job_id": victim_id}).first() is None:
        return False
    connection.execute(_MARK, {"job_id": victim_id, "waiting_id": waiting_id})
    return True
