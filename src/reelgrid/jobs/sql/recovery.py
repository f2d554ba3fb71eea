"""Recovery and completion: expired leases, lost workers, and everything that ends a job.

A job whose worker is lost waits again; after `MAX_LOSSES` at one stage and step it fails. `finalise` runs
in every transaction that ends a job: it clears preemption marks, counts, queues the webhook, and deletes
the row if its owner asked for that.
"""

from typing import Any

from sqlalchemy import Connection, RowMapping, Select, bindparam, delete, or_, select, update

from reelgrid.jobs import policy
from reelgrid.jobs.job import FailureCode, Job, JobKind, Phase, Requested, Transition, next_phase
from reelgrid.jobs.sql import metering, preemption, schema
from reelgrid.jobs.sql.database import Database
from reelgrid.jobs.sql.metering import Observation

MAX_LOSSES = 3
"""A job that has lost so many workers at one stage and step fails."""

MAX_LOSSES_ANYWHERE = 10
"""So does a job that has lost so many anywhere without making new progress."""

WITHOUT_WORKER: dict[str, Any] = {
    "worker": None,
    "lease_until": None,
    "requested": None,
    "yields_for": None,
    "metered_at": None,
}
"""Columns that are cleared when no worker has the job any more."""

CANCELLED: dict[str, Any] = {
    "error_code": str(FailureCode.CANCELLED),
    "error_message": "the job was cancelled",
}
"""Columns of a job that was cancelled."""

_JOB = schema.job.c
_EXPIRE_FILES = (
    update(schema.job)
    .where(_JOB.id == bindparam("job_id"))
    .values(expires_at=_JOB.ended_at + _JOB.retain_s, checkpoints=[], preview=None)
    .returning(_JOB.expires_at)
)


def expire_leases(
    database: Database,
    connection: Connection,
    max_losses: int,
    *,
    dead_worker: str | None = None,
) -> int:
    """Return how many jobs were taken from workers whose lease has expired, or that are dead.

    The time since such a worker's last heartbeat is charged to nobody.
    """
    parameters = {} if dead_worker is None else {"dead_worker": dead_worker}
    statement = database.prepared(_lost, dead_worker is not None)
    found = connection.execute(statement, parameters).mappings().all()
    for row in found:
        _requeue_or_fail(database, connection, row, max_losses)
    return len(found)


def _lost(database: Database, of_dead_worker: bool) -> Select[Any]:
    is_lost = _JOB.lease_until < database.now
    if of_dead_worker:
        is_lost = or_(is_lost, _JOB.worker == bindparam("dead_worker"))
    return (
        select(schema.job)
        .where(schema.in_phase(Phase.RUNNING), is_lost)
        .order_by(_JOB.lease_until)
        .with_for_update(skip_locked=True)
    )


def _requeue_or_fail(
    database: Database, connection: Connection, row: RowMapping, max_losses: int
) -> None:
    where = f"{row['stage']}, step {row['step']}"
    losses_at = row["losses_at"] | {where: row["losses_at"].get(where, 0) + 1}
    losses = row["losses"] + 1
    transition, values = _decide(row, losses, losses_at[where], max_losses)
    now = database.now
    phase = next_phase(Phase(row["phase"]), transition)
    step = max((step for _, step in row["checkpoints"][:1]), default=0)  # the next one begins there
    changed = connection.execute(
        update(schema.job)
        .where(schema.IS_HELD)
        .values(
            WITHOUT_WORKER
            | {"phase": str(phase), "step": step}
            | {"losses": losses, "losses_at": losses_at}
            | {"updated_at": now, "waiting_since": now}
            | ({"ended_at": now} if phase.is_final else {})
            | values
        )
        .returning(schema.job),
        {"job_id": row["id"], "at_epoch": row["epoch"]},
    )
    after = changed.mappings().one()
    _mark_idle(connection, row)
    if phase.is_final:
        finalise(database, connection, after)
    metering.observe(database, connection, [("workers_lost", row["stage"] or "", None)])


def _mark_idle(connection: Connection, row: RowMapping) -> None:
    worker = schema.worker.c
    connection.execute(
        update(schema.worker)
        .where(worker.id == row["worker"], worker.job == row["id"])
        .values(job=None)
    )


def _decide(
    row: RowMapping, losses: int, losses_here: int, max_losses: int
) -> tuple[Transition, dict[str, Any]]:
    """Return what happens to a job that lost its worker, as data."""
    if row["requested"] == Requested.CANCEL:
        return Transition.FAIL, CANCELLED
    if losses_here >= max_losses or losses >= max(max_losses, MAX_LOSSES_ANYWHERE):
        message = (
            f"{losses} workers were lost, {losses_here} of them at stage {row['stage']}, "
            f"step {row['step']} of {row['num_steps']}, without getting further"
        )
        return Transition.FAIL, {
            "error_code": str(FailureCode.WORKER_CRASH),
            "error_message": message,
        }
    if row["requested"] == Requested.PAUSE:
        return Transition.SUSPEND, {"reason": "worker lost"}
    return Transition.RELEASE, {"reason": "worker lost"}


def find_larger_worker(
    database: Database, connection: Connection, row: RowMapping, *, needs_gib: float | None
) -> float | None:
    """Return the memory of the smallest known worker that has more than the job's own, in GiB.

    Args:
        database: Where the rows are.
        connection: In a transaction that holds the row.
        row: Of a running job that ran out of memory.
        needs_gib: What it needs, if its worker knows.
    """
    known = preemption.known_workers(database, connection)
    own_gib = max(
        (each.info.memory_gib for each in known if each.info.id == row["worker"]),
        default=row["memory_gib"],
    )
    job = schema.to_waiting(row)
    larger = [
        each.info.memory_gib
        for each in known
        if each.info.memory_gib > own_gib
        and each.info.memory_gib >= (needs_gib or 0.0)
        and policy.fits(each.info, job)
    ]
    return min(larger, default=None)


def finalise(database: Database, connection: Connection, row: RowMapping) -> Job:
    """Clear the marks of an ended job, count it, queue its webhook, and delete it if asked for.

    Args:
        database: Where the row is.
        connection: In the transaction that ended the job.
        row: As it was ended, with the blobs of its checkpoints.

    Returns:
        The ended job, still naming those blobs, so that the caller can remove them.
    """
    preemption.unmark(connection, row["id"])
    ended = connection.execute(_EXPIRE_FILES, {"job_id": row["id"]})
    job = schema.to_job(dict(row) | {"expires_at": ended.scalar_one()})
    if row["is_deleted"]:
        connection.execute(delete(schema.job).where(_JOB.id == row["id"]))
    elif row["webhook"] is not None:
        connection.execute(schema.outbox.insert().values(**_outbox_entry(row)))
    metering.observe(database, connection, _observations(row))
    return job


def _outbox_entry(row: RowMapping) -> dict[str, Any]:
    return {
        "job": row["id"],
        "owner": row["owner"],
        "event": f"{row['kind']}.{row['phase']}",
        "url": row["webhook"],
        "created_at": row["ended_at"],
        "due_at": row["ended_at"],
        "num_attempts": 0,
    }


def _observations(row: RowMapping) -> list[Observation]:
    if row["phase"] == Phase.FAILED:
        return [("failed", row["error_code"], None)]
    model = row["model"]
    seen: list[Observation] = [
        ("completed", model, None),
        ("gpu_s", model, row["gpu_s"]),
        ("turnaround_s", model, max(row["ended_at"] - row["created_at"], 0.0)),
    ]
    if row["kind"] == JobKind.VIDEO:
        seen += [("clip_s", model, row["clip_s"]), ("video_gpu_s", model, row["gpu_s"])]
    return seen
