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

job = Table(
    "job",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("request", Json, nullable=False),
    Column("phase", Text, nullable=False),
    Column("stage", Text),
    Column("step", Integer, nullable=False),
    Column("num_steps", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("started_at", Float),
    Column("ended_at", Float),
    Column("expires_at", Float),
    Column("waiting_since", Float, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("deadline_at", Float),
    Column("estimate_s", Float, nullable=False),
    Column("memory_gib", Float, nullable=False),
    Column("clip_s", Float, nullable=False),
    Column("needs_trust", Boolean, nullable=False),
    Column("retain_s", Float),
    Column("fair_start_s", Float, nullable=False),
    Column("rank", Float, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("losses", Integer, nullable=False),
    Column("progress_mark", Integer, nullable=False),
    Column("losses_at", Json, nullable=False),
    Column("worker", Text),
    Column("lease_until", Float),
    Column("requested", Text),
    Column("yields_for", Text),
    Column("reason", Text),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("checkpoints", Json, nullable=False),
    Column("preview", Text),
    Column("files", Json, nullable=False),
    Column("has_files", Boolean, nullable=False),
    Column("inputs", Json, nullable=False),
    Column("remixed_from", Text),
    Column("extended_from", Text),
    Column("idempotency_key", Text),
    Column("body_digest", Text),
    Column("webhook", Text),
    Column("gpu_s", Float, nullable=False),
    Column("metered_at", Float),
    Column("charged_s", Float, nullable=False),
    Column("is_deleted", Boolean, nullable=False),
)

worker = Table(
    "worker",
    metadata,
    Column("id", Text, primary_key=True),
    Column("machine", Text, nullable=False),
    Column("memory_gib", Float, nullable=False),
    Column("models", Json),
    Column("warm_models", Json, nullable=False),
    Column("load_s", Float, nullable=False),
    Column("is_trusted", Boolean, nullable=False),
    Column("seen_at", Float, nullable=False),
    Column("job", Text),
)

usage = Table(
    "usage",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("gpu_s", Float, nullable=False),
    Column("num_jobs", Integer, nullable=False),
)

counter = Table(
    "counter",
    metadata,
    Column("name", Text, primary_key=True),
    Column("label", Text, primary_key=True),
    Column("bound", Bound, primary_key=True),
    Column("num", Integer, nullable=False),
    Column("total", Float, nullable=False),
)

profile = Table(
    "profile",
    metadata,
    Column("machine", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("workload", Text, primary_key=True),
    Column("part", Text, primary_key=True),
    Column("num", Integer, nullable=False),
    Column("mean_log", Float, nullable=False),
    Column("squares_log", Float, nullable=False),
)

outbox = Table(
    "outbox",
    metadata,
    Column("job", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("due_at", Float, nullable=False),
    Column("num_attempts", Integer, nullable=False),
)

api_key = Table(
    "api_key",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("limits", Json, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("used_at", Float),
    Column("revoked_at", Float),
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
    capacity = worker.for_policy
    return policy.RunningJob(
        id=row["id"],
        rank=row["rank"],
        remaining_s=_remaining_s(row),
        model=row["model"],
        worker=replace(capacity, warm_models=capacity.warm_models | {row["model"]}),
    )


def _remaining_s(row: Row) -> float:
    return policy.remaining_s(row["estimate_s"], row["step"], row["num_steps"])
