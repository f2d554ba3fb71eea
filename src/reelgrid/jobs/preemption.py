"""Which running job gives way to which waiting one, decided in a transaction and marked on its row.

One victim for each waiting job, and none while a worker that could take the job is idle: a single
short job does not make all workers yield. A running job is marked only if its worker would then
take that very job. Asked when a job begins to wait, and at every beat of a running one.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, bindparam, select, update

from reelgrid.jobs import choosing, policy, rows, schema
from reelgrid.jobs.database import Database
from reelgrid.jobs.job import Phase, Wanted
from reelgrid.jobs.work import KnownWorker, WorkerInfo

IDLE_S = 3.0
"""A worker without a job that has not asked for this long is no longer counted on."""

KNOWN_S = 60.0
"""A worker that has not been heard of for this long is no longer there."""

_JOB = schema.job.c
_BY_ID = select(schema.job).where(_JOB.id == bindparam("job_id"))
_ANY_WAITING = select(_JOB.id).where(schema.in_phase(Phase.WAITING)).limit(1)
_UNMARK = (
    update(schema.job)
    .where(
        _JOB.yields_for == bindparam("job_id"),
        schema.in_phase(Phase.RUNNING),
        _JOB.wanted == Wanted.YIELD,
    )
    .values(wanted=None, yields_for=None)
)


def consider_waiting(database: Database, connection: Connection, job_id: str) -> None:
    """Mark the running job that gives way to one that has begun to wait, if one does."""
    row = _read(connection, job_id)
    waiting = rows.to_waiting(row)
    known = known_workers(database, connection)
    if _is_served(waiting, known):
        return
    victim = policy.whom_to_preempt(_running(database, connection, known), waiting)
    if victim is None:
        return
    if _next_for(connection, known, _read(connection, victim.id)) == job_id:
        _mark(connection, victim.id, job_id)


def consider_running(database: Database, connection: Connection, row: RowMapping) -> bool:
    """Return whether a running job was marked to give way now.

    Args:
        database: Where the rows are.
        connection: In a transaction that holds the row.
        row: Of the running job; nothing is wanted of it.
    """
    if not _has_waiting(connection):
        return False
    known = known_workers(database, connection)
    next_id = _next_for(connection, known, row)
    if next_id is None:
        return False
    waiting = rows.to_waiting(_read(connection, next_id))
    if _is_served(waiting, known):
        return False
    victim = policy.whom_to_preempt(_running(database, connection, known), waiting)
    if victim is None or victim.id != row["id"]:
        return False
    return _mark(connection, victim.id, next_id)


def unmark(connection: Connection, job_id: str) -> None:
    """Let go on whatever was to give way to a job that does not wait any more."""
    connection.execute(_UNMARK, {"job_id": job_id})


def known_workers(database: Database, connection: Connection) -> list[KnownWorker]:
    """Return the workers that are there: at work under a lease, or heard of within a minute."""
    busy = set(connection.execute(database.prepared(_at_work)).scalars())
    found = connection.execute(database.prepared(_heard_of)).mappings().all()
    return [
        rows.to_known(row, is_live=row["id"] in busy or row["silent_s"] < IDLE_S)
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


def _is_served(waiting: policy.Waiting, known: list[KnownWorker]) -> bool:
    return any(each.is_idle and policy.fits(each.info.for_policy, waiting) for each in known)


def _running(
    database: Database, connection: Connection, known: list[KnownWorker]
) -> list[policy.Running]:
    """Return the running jobs that nothing is wanted of yet."""
    infos = {each.info.id: each.info for each in known}
    running = connection.execute(database.prepared(_going_on)).mappings()
    return [rows.to_running(row, infos[row["worker"]]) for row in running if row["worker"] in infos]


def _going_on(database: Database) -> Select[Any]:
    return select(schema.job).where(
        schema.in_phase(Phase.RUNNING), _JOB.wanted.is_(None), _JOB.lease_until > database.now
    )


def _next_for(connection: Connection, known: list[KnownWorker], running: RowMapping) -> str | None:
    """Return the waiting job that the worker of a running one would take, had it none.

    Its model counts as warm, and jobs that another running one gives way to are passed over.
    """
    infos = {each.info.id: each.info for each in known}
    info = infos.get(running["worker"])
    if info is None:
        return None
    chosen = choosing.choice(_warmed(info, running), without=_has_victim())
    found: str | None = connection.execute(select(chosen)).scalar_one()
    return found


def _warmed(info: WorkerInfo, row: RowMapping) -> WorkerInfo:
    return WorkerInfo(
        id=info.id,
        machine=info.machine,
        memory_gib=info.memory_gib,
        models=info.models,
        warm_models=info.warm_models | {row["model"]},
        load_s=info.load_s,
        is_trusted=info.is_trusted,
    )


def _has_victim() -> ColumnElement[bool]:
    victim = schema.job.alias("victim")
    running = select(victim.c.yields_for).where(victim.c.yields_for.is_not(None))
    return _JOB.id.in_(running.scalar_subquery())


def _has_waiting(connection: Connection) -> bool:
    return connection.execute(_ANY_WAITING).first() is not None


def _read(connection: Connection, job_id: str) -> RowMapping:
    return connection.execute(_BY_ID, {"job_id": job_id}).mappings().one()


def _mark(connection: Connection, victim_id: str, waiting_id: str) -> bool:
    """Mark a running job, unless another transaction has it: its own beat will see to it then."""
    free = (
        select(_JOB.id)
        .where(_JOB.id == victim_id, schema.in_phase(Phase.RUNNING), _JOB.wanted.is_(None))
        .with_for_update(skip_locked=True)
    )
    if connection.execute(free).first() is None:
        return False
    connection.execute(
        update(schema.job)
        .where(_JOB.id == victim_id)
        .values(wanted=str(Wanted.YIELD), yields_for=waiting_id)
    )
    return True
