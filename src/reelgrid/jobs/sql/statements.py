"""SQL statements of the worker API: register a worker, advance a job, end a claim.

Built once for each database, see `Database.prepared`. Those of a claim have the parameters of
`schema.IS_HELD`: a claim that is no longer valid changes no row.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    Exists,
    Float,
    Insert,
    Integer,
    ScalarSelect,
    Select,
    Text,
    Update,
    bindparam,
    case,
    exists,
    func,
    select,
    update,
)

from reelgrid.jobs.job import TRANSITIONS, Phase, Requested, Transition
from reelgrid.jobs.sql import metering, preemption, recovery, schema
from reelgrid.jobs.sql.claim import WorkerShape, best_job
from reelgrid.jobs.sql.database import Database

_JOB = schema.job.c
_IS_CANCELLED = func.coalesce(_JOB.requested, "") == Requested.CANCEL

HELD = select(_JOB.stage, _JOB.checkpoints).where(schema.IS_HELD).with_for_update()
HELD_WHOLE = select(schema.job).where(schema.IS_HELD).with_for_update()
REQUESTED = select(_JOB.requested).where(schema.IS_HELD)
MACHINE = select(schema.worker.c.machine).where(schema.worker.c.id == bindparam("worker_id"))
FINISHED = select(schema.job).where(
    _JOB.id == bindparam("job_id"),
    _JOB.epoch == bindparam("at_epoch"),
    schema.in_phase(Phase.COMPLETED),
)


def idle_check(database: Database, shape: WorkerShape) -> Select[str, bool, bool]:
    """Return: the job a worker would get, whether a lease has expired, whether its row is fresh."""
    seen = schema.worker.c
    return select(
        best_job(shape),
        _expired(database),
        exists().where(
            seen.id == bindparam("worker_id"),
            seen.job.is_(None),
            seen.seen_at > database.now - preemption.IDLE_S / 3,
        ),
    )


def any_expired(database: Database) -> Select[bool]:
    """Return whether a lease has expired."""
    return select(_expired(database))


def _expired(database: Database) -> Exists:
    return exists().where(schema.in_phase(Phase.RUNNING), _JOB.lease_until < database.now)


def register(database: Database) -> Insert:
    """Write what a worker has said of itself, and that it has asked now."""
    new = database.insert(schema.worker).values(seen_at=database.now)
    names = [
        column.name for column in schema.worker.columns if column.name not in {"id", "seen_at"}
    ]
    values = {name: new.excluded[name] for name in names} | {"seen_at": database.now}
    return new.on_conflict_do_update(index_elements=["id"], set_=values)


def idle(database: Database) -> Update:
    """Mark a worker as idle."""
    return (
        update(schema.worker)
        .where(schema.worker.c.id == bindparam("worker_id"))
        .values(job=None, seen_at=database.now)
    )


def advance(database: Database, with_checkpoints: bool) -> Update:
    """Extend the lease, record the progress, charge the time, and return the lowest waiting rank."""
    now = database.now
    mark = bindparam("mark", type_=Integer())
    is_further = mark > _JOB.progress_mark
    return (
        update(schema.job)
        .where(schema.IS_HELD)
        .values(
            lease_until=now + bindparam("lease_s", type_=Float()),
            updated_at=now,
            stage=bindparam("at_stage"),
            step=bindparam("at_step"),
            preview=func.coalesce(bindparam("shown", type_=Text()), _JOB.preview),
            progress_mark=case((is_further, mark), else_=_JOB.progress_mark),
            losses=case((is_further, 0), else_=_JOB.losses),
            losses_at=case((is_further, "{}"), else_=_JOB.losses_at),
            **metering.charge(now),
            **({"checkpoints": bindparam("saved")} if with_checkpoints else {}),
        )
        .returning(
            *(_JOB.id, _JOB.owner, _JOB.worker, _JOB.model, _JOB.requested),
            *(_JOB.charged_s, _JOB.updated_at),
            *(_JOB.rank, _first_rank().label("first_rank")),
        )
    )


def _first_rank() -> ScalarSelect[float]:
    waiting = schema.job.alias("waiting")
    return (
        select(waiting.c.rank)
        .where(schema.is_in(waiting, Phase.WAITING))
        .order_by(waiting.c.rank)
        .limit(1)
        .scalar_subquery()
    )


def finish(database: Database) -> Update:
    """End a job with its files; a cancelled job fails without them."""
    values = {
        "ended_at": database.now,
        "phase": case((_IS_CANCELLED, str(Phase.FAILED)), else_=_target(Transition.FINISH)),
        "step": case((_IS_CANCELLED, _JOB.step), else_=_JOB.num_steps),
        "files": case((_IS_CANCELLED, "{}"), else_=bindparam("files", type_=schema.Json())),
        "has_files": case((_IS_CANCELLED, False), else_=True),
    }
    return _end_claim(database, values | _if_cancelled(recovery.CANCELLED))


def fail(database: Database) -> Update:
    """End a job with an error."""
    code, message = bindparam("code", type_=Text()), bindparam("message", type_=Text())
    error = {
        name: case((_IS_CANCELLED, recovery.CANCELLED[name]), else_=value)
        for name, value in {"error_code": code, "error_message": message}.items()
    }
    ended = {"ended_at": database.now, "phase": _target(Transition.FAIL)}
    return _end_claim(database, ended | error)


def release(database: Database) -> Update:
    """Let a job wait again, or do what its owner has requested."""
    is_paused = func.coalesce(_JOB.requested, "") == Requested.PAUSE
    phase = case(
        (_IS_CANCELLED, str(Phase.FAILED)),
        (is_paused, _target(Transition.SUSPEND)),
        else_=_target(Transition.RELEASE),
    )
    cancelled = _if_cancelled({"ended_at": database.now, **recovery.CANCELLED})
    return _end_claim(database, {"phase": phase, "reason": bindparam("why"), **cancelled})


def requeue_for_memory(database: Database) -> Update:
    """Let a job wait for a worker with more memory."""
    waiting = {"phase": _target(Transition.RELEASE), "reason": bindparam("why")}
    return _end_claim(database, waiting | {"memory_gib": bindparam("needs_gib")})


def _end_claim(database: Database, values: Mapping[str, Any]) -> Update:
    now = database.now
    times = {"updated_at": now, "waiting_since": now}
    return (
        update(schema.job)
        .where(schema.IS_HELD)
        .values(metering.charge(now) | recovery.WITHOUT_WORKER | times | dict(values))
        .returning(schema.job)
    )


def _if_cancelled(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: case((_IS_CANCELLED, value), else_=None) for name, value in values.items()}


def _target(transition: Transition) -> str:
    return str(TRANSITIONS[Phase.RUNNING, transition])
