"""Database migrations: numbered steps that bring a database to the tables of this version.

A step is SQL for both databases and is never edited once published: a later change is a new step. Steps
run in one transaction under a lock, so that processes that start together do not collide, and an
interrupted migration leaves the database as it was.
"""

from sqlalchemy import Connection, inspect, text

from reelgrid.errors import JobQueueError
from reelgrid.jobs.sql.database import Database

_LOCK = 7_233_412_905  # any number, the same for all processes

_FIRST = """
CREATE TABLE job (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('video', 'image')),
    owner TEXT NOT NULL,
    model TEXT NOT NULL,
    request TEXT NOT NULL,
    phase TEXT NOT NULL CHECK (phase IN ('waiting', 'running', 'paused', 'completed', 'failed')),
    stage TEXT,
    step INTEGER NOT NULL,
    num_steps INTEGER NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    updated_at DOUBLE PRECISION NOT NULL,
    started_at DOUBLE PRECISION,
    ended_at DOUBLE PRECISION,
    expires_at DOUBLE PRECISION,
    waiting_since DOUBLE PRECISION NOT NULL,
    priority INTEGER NOT NULL,
    deadline_at DOUBLE PRECISION,
    estimate_s DOUBLE PRECISION NOT NULL,
    memory_gib DOUBLE PRECISION NOT NULL,
    clip_s DOUBLE PRECISION NOT NULL,
    needs_trust BOOLEAN NOT NULL,
    retain_s DOUBLE PRECISION,
    turn_s DOUBLE PRECISION NOT NULL,
    rank DOUBLE PRECISION NOT NULL,
    epoch INTEGER NOT NULL,
    losses INTEGER NOT NULL,
    furthest INTEGER NOT NULL,
    worker TEXT,
    lease_until DOUBLE PRECISION,
    wanted TEXT CHECK (wanted IN ('cancel', 'pause', 'yield')),
    yields_for TEXT,
    reason TEXT,
    error_code TEXT,
    error_message TEXT,
    states TEXT NOT NULL,
    preview TEXT,
    files TEXT NOT NULL,
    has_files BOOLEAN NOT NULL,
    inputs TEXT NOT NULL,
    remixed_from TEXT,
    extended_from TEXT,
    idempotency_key TEXT,
    body_digest TEXT,
    webhook TEXT,
    gpu_s DOUBLE PRECISION NOT NULL,
    metered_at DOUBLE PRECISION,
    charged_s DOUBLE PRECISION NOT NULL,
    is_deleted BOOLEAN NOT NULL,
    CHECK ((phase = 'running') = (worker IS NOT NULL)),
    CHECK ((phase = 'running') = (lease_until IS NOT NULL)),
    CHECK ((phase IN ('completed', 'failed')) = (ended_at IS NOT NULL)),
    CHECK ((phase = 'failed') = (error_code IS NOT NULL)),
    CHECK (wanted IS NULL OR phase = 'running')
);
CREATE INDEX job_waiting ON job (rank, id) WHERE phase = 'waiting';
CREATE INDEX job_waiting_model ON job (model, rank, id) WHERE phase = 'waiting';
CREATE INDEX job_lease ON job (lease_until) WHERE phase = 'running';
CREATE INDEX job_turn ON job (owner, turn_s) WHERE phase IN ('paused', 'running', 'waiting');
CREATE INDEX job_list ON job (created_at, id);
CREATE INDEX job_list_owner ON job (owner, created_at, id);
CREATE UNIQUE INDEX job_idempotency ON job (owner, idempotency_key)
    WHERE idempotency_key IS NOT NULL;
CREATE INDEX job_files ON job (ended_at) WHERE has_files;
CREATE TABLE worker (
    id TEXT NOT NULL PRIMARY KEY,
    machine TEXT NOT NULL,
    memory_gib DOUBLE PRECISION NOT NULL,
    models TEXT,
    warm_models TEXT NOT NULL,
    load_s DOUBLE PRECISION NOT NULL,
    is_trusted BOOLEAN NOT NULL,
    seen_at DOUBLE PRECISION NOT NULL,
    job TEXT
);
CREATE TABLE usage (
    owner TEXT NOT NULL,
    day INTEGER NOT NULL,
    gpu_s DOUBLE PRECISION NOT NULL,
    num_jobs INTEGER NOT NULL,
    PRIMARY KEY (owner, day)
);
CREATE TABLE tally (
    name TEXT NOT NULL,
    label TEXT NOT NULL,
    bound TEXT NOT NULL,
    num INTEGER NOT NULL,
    total DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (name, label, bound)
);
CREATE TABLE profile (
    machine TEXT NOT NULL,
    model TEXT NOT NULL,
    workload TEXT NOT NULL,
    part TEXT NOT NULL,
    num INTEGER NOT NULL,
    mean_log DOUBLE PRECISION NOT NULL,
    squares_log DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (machine, model, workload, part)
);
CREATE TABLE notice (
    job TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    event TEXT NOT NULL,
    url TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    due_at DOUBLE PRECISION NOT NULL,
    num_attempts INTEGER NOT NULL
);
CREATE INDEX notice_due ON notice (due_at);
CREATE TABLE api_key (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    prefix TEXT NOT NULL,
    digest TEXT NOT NULL UNIQUE,
    limits TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    used_at DOUBLE PRECISION,
    revoked_at DOUBLE PRECISION
)
"""

_INDEXES_FOR_LONG_QUEUES = """
DROP INDEX job_waiting;
DROP INDEX job_waiting_model;
CREATE INDEX job_waiting ON job (rank, id, memory_gib, model, needs_trust)
    WHERE phase = 'waiting';
CREATE INDEX job_waiting_model ON job (model, rank, id, memory_gib, needs_trust)
    WHERE phase = 'waiting';
CREATE INDEX job_expiry ON job (expires_at) WHERE has_files;
CREATE INDEX job_yields ON job (yields_for) WHERE yields_for IS NOT NULL;
CREATE INDEX job_ended ON job (ended_at) WHERE ended_at IS NOT NULL
"""

_WHERE_WORKERS_WERE_LOST = "ALTER TABLE job ADD COLUMN spots TEXT NOT NULL DEFAULT '{}'"

_STANDARD_NAMES = """
ALTER TABLE job RENAME COLUMN turn_s TO fair_start_s;
ALTER TABLE job RENAME COLUMN furthest TO progress_mark;
ALTER TABLE job RENAME COLUMN spots TO losses_at;
ALTER TABLE job RENAME COLUMN wanted TO requested;
ALTER TABLE job RENAME COLUMN states TO checkpoints;
ALTER TABLE tally RENAME TO counter;
ALTER TABLE notice RENAME TO outbox;
DROP INDEX notice_due;
CREATE INDEX outbox_due ON outbox (due_at);
UPDATE counter SET name = 'checkpoints' WHERE name = 'saves';
UPDATE counter SET name = 'workers_lost' WHERE name = 'lost';
UPDATE counter SET name = 'released' WHERE name = 'given_back';
UPDATE counter SET name = 'checkpoints_refused' WHERE name = 'states_refused';
UPDATE job SET request = replace(request, '"input_reference": null', '"first_frame": null')
"""

STEPS: tuple[str, ...] = (
    _FIRST,
    _INDEXES_FOR_LONG_QUEUES,
    _WHERE_WORKERS_WERE_LOST,
    _STANDARD_NAMES,
)
"""Step n brings a database from version n to version n + 1."""


def migrate(database: Database, *, up_to: int = len(STEPS)) -> int:
    """Return how many steps it took to bring the database to a version.

    Args:
        database: Empty, or of any earlier version.
        up_to: The version; tests use older ones.

    Raises:
        JobQueueError: The database was written by a newer version of this program.
    """
    if _read_version(database) == up_to:
        return 0
    with database.write() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        version = _ensure_version_table(connection)
        for step in STEPS[version:up_to]:
            for statement in step.split(";"):
                connection.exec_driver_sql(statement)
        if version < up_to:
            connection.execute(text("UPDATE schema_version SET version = :n"), {"n": up_to})
    return max(up_to - version, 0)


def _read_version(database: Database) -> int:
    with database.read() as connection:
        if not inspect(connection).has_table("schema_version"):
            return 0
        version = int(connection.execute(text("SELECT version FROM schema_version")).scalar_one())
    if version > len(STEPS):
        raise JobQueueError(
            f"the database {database} has version {version}, this program knows up to "
            f"{len(STEPS)}: use the newer program, or a backup from before the upgrade"
        )
    return version


def _ensure_version_table(connection: Connection) -> int:
    """Return the version, creating its table if missing; the lock is held."""
    if not inspect(connection).has_table("schema_version"):
        connection.exec_driver_sql("CREATE TABLE schema_version (version INTEGER NOT NULL)")
        connection.exec_driver_sql("INSERT INTO schema_version VALUES (0)")
    return int(connection.execute(text("SELECT version FROM schema_version")).scalar_one())
