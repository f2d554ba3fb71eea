"""The statements by which a worker notes that it is there, goes on with a job, and lets go of it.

Built once for each database, see `Database.prepared`. Those of a claim have the parameters of
`schema.IS_HELD`: a claim that is over changes no row. Not here: the transactions (`worker_queue`), the
choice of a job (`claim`).
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    Exists,
    Float,
    Insert,
    Integer,
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
from reelgrid.jobs.sql import claim, ending, metering, preemption, schema
from reelgrid.jobs.sql.database import Database

_JOB = schema.job.c
_IS_CANCELLED = func.coalesce(_JOB.requested, "") == Requested.CANCEL

HELD = select(_JOB.stage, _JOB.checkpoints).where(schema.IS_HELD).with_for_update()
HELD_WHOLE = select(schema.job).where(schema.IS_HELD).with_for_update()
WANTED = select(_JOB.requested).where(schema.IS_HELD)
MACHINE = select(schema.worker.c.machine).where(schema.worker.c.id == bindparam("worker_id"))
FINISHED = select(schema.job).where(
    _JOB.id == bindparam("job_id"),
    _JOB.epoch == bindparam("at_epoch"),
    schema.in_phase(Phase.COMPLETED),
)


def quiet(database: Database, asking: claim.Shape) -> Select[str, bool, bool]:
    """Return: the job it would get, whether one was lost, whether it is known to be idle."""
    seen = schema.worker.c
    return select(
        claim.choice(asking),
        _lost(database),
        exists().where(
            seen.id == bindparam("worker_id"),
            seen.job.is_(None),
            seen.seen_at > database.now - preemption.IDLE_S / 3,
        ),
    )


def any_lost(database: Database) -> Select[bool]:
    """Return whether a lease has run out."""
    return select(_lost(database))


def _lost(database: Database) -> Exists:
    return exists().where(schema.in_phase(Phase.RUNNING), _JOB.lease_until < database.now)


def entry(database: Database) -> Insert:
    """Note that a worker has asked, and what it is."""
    new = database.insert(schema.worker).values(seen_at=database.now)
    names = [
        column.name for column in schema.worker.columns if column.name not in {"id", "seen_at"}
    ]
    said = {name: new.excluded[name] for name in names}
    return new.on_conflict_do_update(index_elements=["id"], set_=said | {"seen_at": database.now})


def idle(database: Database) -> Update:
    """Note that a worker has no job."""
    return (
        update(schema.worker)
        .where(schema.worker.c.id == bindparam("worker_id"))
        .values(job=None, seen_at=database.now)
    )


def advance(database: Database, with_states: bool) -> Update:
    """Extend the lease, note the progress, charge the time, and see who waits first."""
    now = database.now
    position = bindparam("position", type_=Integer())
    is_further = position > _JOB.progress_mark
    waiting = schema.job.alias("waiting")
    first_rank = (
        select(waiting.c.rank)
        .where(schema.is_in(waiting, Phase.WAITING))
        .order_by(waiting.c.rank)
        .limit(1)
        .scalar_subquery()
    )
    return (
        update(schema.job)
        .where(schema.IS_HELD)
        .values(
            lease_until=now + bindparam("lease_s", type_=Float()),
            updated_at=now,
            stage=bindparam("at_stage"),
            step=bindparam("at_step"),
            preview=func.coalesce(bindparam("shown", type_=Text()), _JOB.preview),
            progress_mark=case((is_further, position), else_=_JOB.progress_mark),
            losses=case((is_further, 0), else_=_JOB.losses),
            losses_at=case((is_further, "{}"), else_=_JOB.losses_at),
            **metering.charge(now),
            **({"checkpoints": bindparam("saved")} if with_states else {}),
        )
        .returning(
            *(_JOB.id, _JOB.owner, _JOB.worker, _JOB.model, _JOB.requested),
            *(_JOB.charged_s, _JOB.updated_at),
            *(_JOB.rank, first_rank.label("first_rank")),
        )
    )


def _let_go(database: Database, values: Mapping[str, Any]) -> Update:
    now = database.now
    moved = ending.LET_GO | {"updated_at": now, "waiting_since": now}
    return (
        update(schema.job)
        .where(schema.IS_HELD)
        .values(metering.charge(now) | moved | dict(values))
        .returning(schema.job)
    )


def finish(database: Database) -> Update:
    """End a job with its files; one that is cancelled fails without them."""
    values = {
        "ended_at": database.now,
        "phase": case((_IS_CANCELLED, str(Phase.FAILED)), else_=_lead(Transition.FINISH)),
        "step": case((_IS_CANCELLED, _JOB.step), else_=_JOB.num_steps),
        "files": case((_IS_CANCELLED, "{}"), else_=bindparam("files", type_=schema.Json())),
        "has_files": case((_IS_CANCELLED, False), else_=True),
    }
    return _let_go(database, values | _if_cancelled(ending.CANCELLED))


def fail(database: Database) -> Update:
    """End a job with an error."""
    code, message = bindparam("code", type_=Text()), bindparam("message", type_=Text())
    error = {
        name: case((_IS_CANCELLED, ending.CANCELLED[name]), else_=word)
        for name, word in {"error_code": code, "error_message": message}.items()
    }
    return _let_go(database, {"ended_at": database.now, "phase": _lead(Transition.FAIL)} | error)


def release(database: Database) -> Update:
    """Let a job wait again, or do what its owner has asked for."""
    is_paused = func.coalesce(_JOB.requested, "") == Requested.PAUSE
    phase = case(
        (_IS_CANCELLED, str(Phase.FAILED)),
        (is_paused, _lead(Transition.SUSPEND)),
        else_=_lead(Transition.RELEASE),
    )
    ended = _if_cancelled({"ended_at": database.now, **ending.CANCELLED})
    return _let_go(database, {"phase": phase, "reason": bindparam("why"), **ended})


def send_on(database: Database) -> Update:
    """Let a job wait for a worker with more memory."""
    freed = {"phase": _lead(Transition.RELEASE)}
    return _let_go(
        database, freed | {"memory_gib": bindparam("needs_gib"), "reason": bindparam("why")}
    )


def _if_cancelled(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: case((_IS_CANCELLED, word), else_=None) for name, word in values.items()}


def _lead(move: Transition) -> str:
    return str(TRANSITIONS[Phase.RUNNING, move])
