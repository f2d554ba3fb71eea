"""Admission: a job's turn, rank and row, its owner's limits, and the repeated request."""

from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, bindparam, func, select

from reelgrid.errors import ConflictError, LimitError
from reelgrid.jobs import policy
from reelgrid.jobs.job import KeyLimits, NewJob, Phase, new_id
from reelgrid.jobs.sql import metering, schema
from reelgrid.jobs.sql.database import Database

_JOB = schema.job.c
_IS_UNFINISHED = (_JOB.owner == bindparam("of_owner")) & schema.in_phase(
    Phase.WAITING, Phase.RUNNING, Phase.PAUSED
)
_LEFT_S = _JOB.estimate_s * (1 - _JOB.step * 1.0 / func.coalesce(func.nullif(_JOB.num_steps, 0), 1))
_INSERT = schema.job.insert().returning(schema.job)
_LAST_TURN = (
    select(_JOB.fair_start_s, _JOB.estimate_s)
    .where(_IS_UNFINISHED)
    .order_by(_JOB.fair_start_s.desc())
    .limit(1)
)
_EARLIER = select(schema.job).where(
    _JOB.owner == bindparam("of_owner"),
    _JOB.idempotency_key == bindparam("key"),
    _JOB.idempotency_key.is_not(None),
)
_UNFINISHED = select(func.count(), func.coalesce(func.sum(_LEFT_S), 0.0)).where(_IS_UNFINISHED)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a job comes in: the time, its owner's turn, its rank."""

    now_s: float
    fair_start_s: float
    rank: float


def admit(
    database: Database, connection: Connection, job: NewJob, limits: KeyLimits
) -> tuple[RowMapping, bool]:
    """Return the job's row, and whether it is new.

    Whoever submits first locks the owner's day, so that turns, limits and idempotency keys of one
    owner are looked at one after the other.

    Raises:
        ConflictError: The idempotency key was used with another body.
        LimitError: The owner has no more room.
    """
    day = int(database.read_now(connection) // metering.DAY_S)
    used_s, now_s = metering.add_usage(database, connection, job.owner, day, num_jobs=1)
    earlier = _find_earlier(connection, job)
    if earlier is not None:
        metering.add_usage(database, connection, job.owner, day, num_jobs=-1)
        return earlier, False
    _check_limits(connection, job, limits, used_s)
    standing = _stand(connection, job, now_s)
    admitted = connection.execute(_INSERT, _values(job, standing)).mappings().one()
    metering.observe(database, connection, [("submitted", job.model, None)])
    return admitted, True


def rank_now(database: Database, connection: Connection, job: NewJob) -> Standing:
    """Return where the job would come in now."""
    return _stand(connection, job, database.read_now(connection))


def _stand(connection: Connection, job: NewJob, now_s: float) -> Standing:
    last = connection.execute(_LAST_TURN, {"of_owner": job.owner}).first()
    fair_start_s = policy.fair_start_s(now_s, *(last or (None,)))
    return Standing(
        now_s,
        fair_start_s,
        policy.rank(
            submitted_s=now_s,
            fair_start_s=fair_start_s,
            estimate_s=job.estimate_s,
            priority=job.priority,
            deadline_s=None if job.deadline_s is None else now_s + job.deadline_s,
        ),
    )


def _find_earlier(connection: Connection, job: NewJob) -> RowMapping | None:
    if job.idempotency_key is None:
        return None
    asked = {"of_owner": job.owner, "key": job.idempotency_key}
    row = connection.execute(_EARLIER, asked).mappings().first()
    if row is not None and row["body_digest"] != job.body_digest:
        raise ConflictError(
            f"the idempotency key was used with another request, for {row['id']}: take a new one",
            param="idempotency_key",
        )
    return row


def _check_limits(connection: Connection, job: NewJob, limits: KeyLimits, used_s: float) -> None:
    if limits.max_jobs is None and limits.max_gpu_s_per_day is None:
        return
    num, ahead_s = connection.execute(_UNFINISHED, {"of_owner": job.owner}).one()
    if limits.max_jobs is not None and num >= limits.max_jobs:
        raise LimitError(
            f"{num} jobs are unfinished, this key may have {limits.max_jobs}: wait for one to end",
            limit="max_jobs",
        )
    bound_s = limits.max_gpu_s_per_day
    if bound_s is not None and used_s + ahead_s + job.estimate_s > bound_s:
        raise LimitError(
            f"{used_s:.0f} GPU-seconds are used today and {ahead_s:.0f} are waiting; with "
            f"{job.estimate_s:.0f} more it would be over the {bound_s:.0f} a day of this key",
            limit="max_gpu_s_per_day",
        )


def _values(job: NewJob, standing: Standing) -> dict[str, object]:
    now_s = standing.now_s
    return {
        "id": new_id(job.kind),
        "kind": str(job.kind),
        "owner": job.owner,
        "model": job.model,
        "request": dict(job.request),
        "phase": str(Phase.WAITING),
        "step": 0,
        "num_steps": job.num_steps,
        "created_at": now_s,
        "updated_at": now_s,
        "waiting_since": now_s,
        "priority": int(job.priority),
        "deadline_at": None if job.deadline_s is None else now_s + job.deadline_s,
        "estimate_s": job.estimate_s,
        "memory_gib": job.memory_gib,
        "clip_s": job.clip_s,
        "needs_trust": job.needs_trust,
        "retain_s": job.retain_s,
        "fair_start_s": standing.fair_start_s,
        "rank": standing.rank,
        "epoch": 0,
        "losses": 0,
        "progress_mark": 0,
        "losses_at": {},
        "checkpoints": [],
        "files": {},
        "has_files": False,
        "inputs": list(job.inputs),
        "remixed_from": job.remixed_from,
        "extended_from": job.extended_from,
        "idempotency_key": job.idempotency_key,
        "body_digest": job.body_digest,
        "webhook": job.webhook,
        "gpu_s": 0.0,
        "charged_s": 0.0,
        "is_deleted": False,
    }
