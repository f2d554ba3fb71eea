"""From rows of the tables to values."""

from typing import Any

from sqlalchemy import RowMapping

from reelgrid.jobs import policy
from reelgrid.jobs.job import CheckpointRef, Job, JobKind, Phase, Requested
from reelgrid.jobs.messages import KnownWorker, WorkerInfo
from reelgrid.jobs.policy import Priority

Row = RowMapping | dict[str, Any]

_OWN_TO_THE_DESK = frozenset(
    {
        "waiting_since",
        "progress_mark",
        "losses_at",
        "yields_for",
        "body_digest",
        "metered_at",
        "charged_s",
        "has_files",
    }
)


def to_job(row: Row) -> Job:
    """Return the job of a whole row."""
    values: dict[str, Any] = {name: row[name] for name in row if name not in _OWN_TO_THE_DESK}
    return Job(
        **values
        | {
            "kind": JobKind(row["kind"]),
            "phase": Phase(row["phase"]),
            "priority": Priority(row["priority"]),
            "requested": None if row["requested"] is None else Requested(row["requested"]),
            "checkpoints": tuple(CheckpointRef(blob, step) for blob, step in row["checkpoints"]),
            "inputs": tuple(row["inputs"]),
        }
    )


def to_info(row: Row) -> WorkerInfo:
    """Return what a worker has said of itself."""
    return WorkerInfo(
        id=row["id"],
        machine=row["machine"],
        memory_gib=row["memory_gib"],
        models=None if row["models"] is None else frozenset(row["models"]),
        warm_models=frozenset(row["warm_models"]),
        load_s=row["load_s"],
        is_trusted=row["is_trusted"],
    )


def to_known(row: Row, *, is_live: bool) -> KnownWorker:
    """Return a worker that was heard of."""
    return KnownWorker(info=to_info(row), seen_at=row["seen_at"], job=row["job"], is_live=is_live)


def to_waiting(row: Row) -> policy.WaitingJob:
    """Return a job as the policy looks at one that waits; the estimate is of what is left."""
    return policy.WaitingJob(
        id=row["id"],
        rank=row["rank"],
        estimate_s=remaining_s(row),
        memory_gib=row["memory_gib"],
        model=row["model"],
        needs_trust=row["needs_trust"],
    )


def to_running(row: Row, worker: WorkerInfo) -> policy.RunningJob:
    """Return a job as the policy looks at one on a worker, which has its model in memory."""
    info = worker.for_policy
    return policy.RunningJob(
        id=row["id"],
        rank=row["rank"],
        remaining_s=remaining_s(row),
        model=row["model"],
        worker=policy.WorkerCapacity(
            memory_gib=info.memory_gib,
            warm_models=info.warm_models | {row["model"]},
            load_s=info.load_s,
            models=info.models,
            is_trusted=info.is_trusted,
        ),
    )


def remaining_s(row: Row) -> float:
    """Return the seconds of work that are left in a job, by its estimate and its steps."""
    done = min(row["step"], row["num_steps"]) / max(row["num_steps"], 1)
    return float(row["estimate_s"] * (1 - done))
