"""Builders for tests of the queue: jobs, workers, and a clock that is a row of the database."""

from pathlib import Path
from typing import Any

from reelgrid.jobs.job import JobKind, NewJob
from reelgrid.jobs.messages import WorkerInfo
from reelgrid.jobs.sql.database import Database
from reelgrid.jobs.sql.migrations import migrate
from reelgrid.jobs.sql.recovery import MAX_LOSSES
from reelgrid.jobs.sql.sql_queue import SqlJobQueue

CLOCK = "(SELECT now_s FROM test_clock)"
START_S = 1_800_000_000.0  # noon or so of a day, far from midnight UTC
TABLES = ("job", "worker", "usage", "counter", "profile", "outbox", "api_key")


def new_job(**values: Any) -> NewJob:
    usual: dict[str, Any] = {
        "kind": JobKind.VIDEO,
        "owner": "ann",
        "model": "tiny",
        "request": {"prompt": "a red ball"},
        "estimate_s": 10.0,
        "memory_gib": 1.0,
        "num_steps": 10,
    }
    return NewJob(**(usual | values))


def new_worker(name: str = "w1", **values: Any) -> WorkerInfo:
    usual: dict[str, Any] = {"id": name, "machine": "cpu", "memory_gib": 8.0}
    return WorkerInfo(**(usual | values))


class Clock:
    """A clock that shows the same time until a test moves it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def now_s(self) -> float:
        with self._database.read() as connection:
            return self._database.read_now(connection)

    def move(self, seconds: float) -> None:
        with self._database.write() as connection:
            connection.exec_driver_sql(f"UPDATE test_clock SET now_s = now_s + ({seconds!r})")


def make_queue(url: str | Path) -> tuple[SqlJobQueue, Clock]:
    """Return an empty queue whose clock the test moves."""
    database = Database(url, clock=CLOCK)
    migrate(database)
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS test_clock (now_s DOUBLE PRECISION)")
    job_queue = SqlJobQueue(database)
    empty(job_queue)
    return job_queue, Clock(database)


def empty(job_queue: SqlJobQueue, *, max_losses: int = MAX_LOSSES) -> None:
    """Remove all rows and set the clock."""
    with job_queue.database.write() as connection:
        for table in (*TABLES, "test_clock"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
        connection.exec_driver_sql(f"INSERT INTO test_clock VALUES ({START_S!r})")
    SqlJobQueue.__init__(
        job_queue, job_queue.database, max_losses=max_losses
    )  # the cached state of the queue goes with the rows
