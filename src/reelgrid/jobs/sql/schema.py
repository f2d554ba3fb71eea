"""The tables as the statements see them; `migrations` makes them, and a test compares the two.

Values that are no plain number or text are JSON in a text column. Not here: a single statement.
"""

import json
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Float,
    FromClause,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    and_,
    bindparam,
    literal_column,
    text,
)

from reelgrid.jobs.job import Phase


def to_text(value: Any) -> str:
    """Return JSON; numbers that it has no word for are refused."""
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
    """A number in a text column, infinity too, for which SQL has no word: a dump holds it."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: object) -> str | None:
        """Return the shortest text that is read back as the same number."""
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
"""The condition that the index of jobs with files is made over."""


def in_phase(*phases: Phase) -> ColumnElement[bool]:
    """Return the condition that a job is in one of the phases.

    The words stand in the statement, not in its parameters: only so can the planner of either
    database know that an index over a part of the table holds all that is asked for.
    """
    return is_in(job, *phases)


def is_in(jobs: FromClause, *phases: Phase) -> ColumnElement[bool]:
    """Return `in_phase` of a table of jobs that goes by another name."""
    words = [literal_column(f"'{phase}'", Text()) for phase in sorted(phases)]
    phase = jobs.c.phase
    return phase == words[0] if len(words) == 1 else phase.in_(words)


IS_HELD = and_(
    job.c.id == bindparam("job_id"), job.c.epoch == bindparam("at_epoch"), in_phase(Phase.RUNNING)
)
"""The condition that every write of a worker carries."""
