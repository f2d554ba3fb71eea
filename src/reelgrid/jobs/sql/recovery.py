"""What becomes of a job whose worker was lost, or whose worker was too small for it."""

from typing import Any

from sqlalchemy import Connection, RowMapping, Select, bindparam, or_, select, update

from reelgrid.jobs import policy
from reelgrid.jobs.job import FailureCode, Phase, Requested, Transition, after
from reelgrid.jobs.sql import ending, metering, rows, schema
from reelgrid.jobs.sql.database import Database
from reelgrid.jobs.sql.preemption import known_workers

MAX_LOSSES = 3
"""A job that has lost so many workers at one spot, a stage and a step, is given up."""

MAX_LOSSES_ANYWHERE = 10
"""And so is one that has lost so many anywhere without getting further than ever before."""

_JOB = schema.job.c


def take_back(
    database: Database,
    connection: Connection,
    max_losses: int,
    *,
    dead_worker: str | None = None,
) -> int:
    """Return how many jobs were taken from workers whose lease has run out, or that are dead.

    The time since such a worker's last beat is charged to nobody.
    """
    asked = {} if dead_worker is None else {"dead_worker": dead_worker}
    statement = database.prepared(_lost, dead_worker is not None)
    found = connection.execute(statement, asked).mappings().all()
    for row in found:
        _take_back(database, connection, row, max_losses)
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


def _take_back(
    database: Database, connection: Connection, row: RowMapping, max_losses: int
) -> None:
    spot = f"{row['stage']}, step {row['step']}"
    losses_at = row["losses_at"] | {spot: row["losses_at"].get(spot, 0) + 1}
    losses = row["losses"] + 1
    move, values = _decide(row, losses, losses_at[spot], max_losses)
    now = database.now
    phase = after(Phase(row["phase"]), move)
    changed = connection.execute(
        update(schema.job)
        .where(schema.IS_HELD)
        .values(
            ending.LET_GO
            | {
                "phase": str(phase),
                "step": _saved_step(row),
                "losses": losses,
                "losses_at": losses_at,
            }
            | {"updated_at": now, "waiting_since": now}
            | ({"ended_at": now} if phase.is_final else {})
            | values
        )
        .returning(schema.job),
        {"job_id": row["id"], "at_epoch": row["epoch"]},
    )
    now_row = changed.mappings().one()
    entry = schema.worker.c
    connection.execute(
        update(schema.worker)
        .where(entry.id == row["worker"], entry.job == row["id"])
        .values(job=None)
    )
    if phase.is_final:
        ending.finalise(database, connection, now_row)
    metering.observe(database, connection, [("workers_lost", row["stage"] or "", None)])


def _saved_step(row: RowMapping) -> int:
    """Return the step that the next worker goes on from."""
    return max((step for _, step in row["checkpoints"][:1]), default=0)


def _decide(
    row: RowMapping, losses: int, losses_here: int, max_losses: int
) -> tuple[Transition, dict[str, Any]]:
    """Return what happens to a job that lost its worker, as data."""
    if row["requested"] == Requested.CANCEL:
        return Transition.FAIL, ending.CANCELLED
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


def find_roomier(
    database: Database, connection: Connection, row: RowMapping, *, needs_gib: float | None
) -> float | None:
    """Return the memory of the smallest known worker that has more than the job's own, in GiB.

    Args:
        database: Where the rows are.
        connection: In a transaction that holds the row.
        row: Of a running job that found too little memory.
        needs_gib: What it needs, if its worker could tell.
    """
    known = known_workers(database, connection)
    own_gib = max(
        (each.info.memory_gib for each in known if each.info.id == row["worker"]),
        default=row["memory_gib"],
    )
    job = rows.to_waiting(row)
    roomier = [
        each.info.memory_gib
        for each in known
        if each.info.memory_gib > own_gib
        and each.info.memory_gib >= (needs_gib or 0.0)
        and policy.fits(each.info.for_policy, job)
    ]
    return min(roomier, default=None)
