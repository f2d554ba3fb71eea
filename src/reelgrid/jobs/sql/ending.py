"""What happens when a job reaches its end, whoever brought it there."""

from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, delete, update

from reelgrid.jobs.job import FailureCode, Job, JobKind, Phase
from reelgrid.jobs.sql import metering, preemption, rows, schema
from reelgrid.jobs.sql.database import Database
from reelgrid.jobs.sql.metering import Observation

_JOB = schema.job.c

LET_GO: dict[str, Any] = {
    "worker": None,
    "lease_until": None,
    "requested": None,
    "yields_for": None,
    "metered_at": None,
}
"""What a row loses when no worker has the job any more."""

_CLEAR = (
    update(schema.job)
    .where(_JOB.id == bindparam("job_id"))
    .values(expires_at=_JOB.ended_at + _JOB.retain_s, checkpoints=[], preview=None)
    .returning(_JOB.expires_at)
)

CANCELLED: dict[str, Any] = {
    "error_code": str(FailureCode.CANCELLED),
    "error_message": "the job was cancelled",
}


def finalise(database: Database, connection: Connection, row: RowMapping) -> Job:
    """Settle what an ended job leaves behind: its mark, its figures, its notice, its row.

    Args:
        database: Where the row is.
        connection: In the transaction that ended the job.
        row: As it was ended, with the blobs of its states.

    Returns:
        The job at its end, still naming those blobs, for whoever removes them.
    """
    preemption.unmark(connection, row["id"])
    ended = connection.execute(_CLEAR, {"job_id": row["id"]})
    job = rows.to_job(dict(row) | {"expires_at": ended.scalar_one()})
    if row["is_deleted"]:
        connection.execute(delete(schema.job).where(_JOB.id == row["id"]))
    elif row["webhook"] is not None:
        connection.execute(schema.outbox.insert().values(**_notice(row)))
    metering.observe(database, connection, _observations(row))
    return job


def _notice(row: RowMapping) -> dict[str, Any]:
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
