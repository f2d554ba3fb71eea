"""Tables of the job queue as the SQL statements see them, and the conversion of rows to values.

`migrations` creates the tables, and a test compares the two. Values that are not plain numbers or text are
JSON in a text column.
"""

import json
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Float,
    FromClause,
    Integer,
    MetaData,
    RowMapping,
    Table,
    Text,
    TypeDecorator,
    and_,
    bindparam,
    case,
    literal_column,
    text,
)

from reelgrid.jobs import policy
from reelgrid.jobs.job import CheckpointRef, Job, JobKind, Phase, Requested
from reelgrid.jobs.messages import KnownWorker, WorkerInfo
from reelgrid.jobs.policy import Priority


def to_text(value: Any) -> str:
    """Return JSON; raises `ValueError` for numbers that JSON does not have."""
    return json.dumps(value, allow_nan=False)


class Json(TypeDecorator[Any]):
    """JSON in a text column, the same on every database."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: object) -> str | None:
        """Return the text."""
        del dialect
        return None if value is None else to_text(value)

    def process_result_value(self, value: str | None, dialect: object) -> Any:
        """Return the value."""
        del dialect
        return None if value is None else json.loads(value)


class Bound(TypeDecorator[float]):
    """A number in a text column, so that infinity survives a dump of the database."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: object) -> str | None:
        """Return the shortest text that reads back as the same number."""
        del dialect
        return None if value is None else repr(float(value))

    def process_result_value(self, value: str | None, dialect: object) -> float | None:
        """Return the number."""
        del dialect
        return None if value is None else float(value)


metadata = MetaData()


def _required(kind: Any, *names: str, primary_key: bool = False) -> list[Column[Any]]:
    return [Column(name, kind, nullable=False, primary_key=primary_key) for name in names]


def _optional(kind: Any, *names: str) -> list[Column[Any]]:
    return [Column(name, kind) for name in names]


job = Table(
    "job",
    metadata,
    *_required(Text, "id", primary_key=True),
    *_required(Text, "kind", "owner", "model", "phase"),
    *_required(Json, "request", "inputs", "checkpoints", "files", "losses_at"),
    *_required(Integer, "step", "num_steps", "priority", "epoch", "losses", "progress_mark"),
    *_required(Float, "created_at", "updated_at", "waiting_since", "fair_start_s", "rank"),
    *_required(Float, "estimate_s", "memory_gib", "clip_s", "gpu_s", "charged_s"),
    *_required(Boolean, "needs_trust", "has_files", "is_deleted"),
    *_optional(Float, "started_at", "ended_at", "expires_at", "deadline_at", "retain_s"),
    *_optional(Float, "lease_until", "metered_at"),
    *_optional(Text, "stage", "worker", "requested", "yields_for", "reason", "preview"),
    *_optional(Text, "error_code", "error_message", "remixed_from", "extended_from"),
    *_optional(Text, "idempotency_key", "body_digest", "webhook"),
)

worker = Table(
    "worker",
    metadata,
    *_required(Text, "id", primary_key=True),
    *_required(Text, "machine"),
    *_required(Float, "memory_gib", "load_s", "seen_at"),
    *_required(Json, "warm_models"),
    *_required(Boolean, "is_trusted"),
    *_optional(Json, "models"),
    *_optional(Text, "job"),
)

usage = Table(
    "usage",
    metadata,
    *_required(Text, "owner", primary_key=True),
    *_required(Integer, "day", primary_key=True),
    *_required(Float, "gpu_s"),
    *_required(Integer, "num_jobs"),
)

counter = Table(
    "counter",
    metadata,
    *_required(Text, "name", "label", primary_key=True),
    *_required(Bound, "bound", primary_key=True),
    *_required(Integer, "num"),
    *_required(Float, "total"),
)

profile = Table(
    "profile",
    metadata,
    *_required(Text, "machine", "model", "workload", "part", primary_key=True),
    *_required(Integer, "num"),
    *_required(Float, "mean_log", "squares_log"),
)

outbox = Table(
    "outbox",
    metadata,
    *_required(Text, "job", primary_key=True),
    *_required(Text, "owner", "event", "url"),
    *_required(Float, "created_at", "due_at"),
    *_required(Integer, "num_attempts"),
)

api_key = Table(
    "api_key",
    metadata,
    *_required(Text, "id", primary_key=True),
    *_required(Text, "name", "prefix", "digest"),
    *_required(Json, "limits"),
    *_required(Float, "created_at"),
    *_optional(Float, "used_at", "revoked_at"),
)


HAS_FILES = text("job.has_files")
"""The condition of the partial index over jobs with files."""

_NOT_COLUMNS_OF_JOB = frozenset(
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

Row = RowMapping | dict[str, Any]


def in_phase(*phases: Phase) -> ColumnElement[bool]:
    """Return the condition that a job is in one of the phases.

    The words are part of the statement, not parameters: otherwise the planner of neither database could
    know that a partial index covers the query.
    """
    return is_in(job, *phases)


def is_in(jobs: FromClause, *phases: Phase) -> ColumnElement[bool]:
    """Return `in_phase` for an alias of the table of jobs."""
    words = [literal_column(f"'{phase}'", Text()) for phase in sorted(phases)]
    phase = jobs.c.phase
    return phase == words[0] if len(words) == 1 else phase.in_(words)


IS_HELD = and_(
    job.c.id == bindparam("job_id"), job.c.epoch == bindparam("at_epoch"), in_phase(Phase.RUNNING)
)
"""The condition of every write of a worker: its claim is still valid."""

_STEPS_DONE = case((job.c.step < job.c.num_steps, job.c.step), else_=job.c.num_steps)
REMAINING_S = case(
    (in_phase(Phase.COMPLETED, Phase.FAILED), 0.0),
    (job.c.num_steps > 0, job.c.estimate_s * (1.0 - _STEPS_DONE * 1.0 / job.c.num_steps)),
    else_=job.c.estimate_s,
)
"""Seconds of work left in a job: `Job.remaining_s` in SQL; a test compares the two."""


def to_job(row: Row) -> Job:
    """Return the job of a whole row."""
    values: dict[str, Any] = {name: row[name] for name in row if name not in _NOT_COLUMNS_OF_JOB}
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


def to_worker(row: Row, *, is_live: bool) -> KnownWorker:
    """Return the worker of a row."""
    info = WorkerInfo(
        id=row["id"],
        machine=row["machine"],
        memory_gib=row["memory_gib"],
        models=None if row["models"] is None else frozenset(row["models"]),
        warm_models=frozenset(row["warm_models"]),
        load_s=row["load_s"],
        is_trusted=row["is_trusted"],
    )
    return KnownWorker(info=info, seen_at=row["seen_at"], job=row["job"], is_live=is_live)


def to_waiting(row: Row) -> policy.WaitingJob:
    """Return a waiting job as the policy sees it; the estimate is of the work left."""
    return policy.WaitingJob(
        id=row["id"],
        rank=row["rank"],
        estimate_s=_remaining_s(row),
        memory_gib=row["memory_gib"],
        model=row["model"],
        needs_trust=row["needs_trust"],
    )


def to_running(row: Row, worker: WorkerInfo) -> policy.RunningJob:
    """Return a running job as the policy sees it: its model is in its worker's memory."""
    return policy.RunningJob(
        id=row["id"],
        rank=row["rank"],
        remaining_s=_remaining_s(row),
        model=row["model"],
        worker=replace(worker, warm_models=worker.warm_models | {row["model"]}),
    )


def _remaining_s(row: Row) -> float:
    return policy.remaining_s(row["estimate_s"], row["step"], row["num_steps"])
