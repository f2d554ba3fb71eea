"""The queue when its database is locked, read-only, full, missing, or killed half way."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from reelgrid.errors import BusyError, JobQueueError, ReelgridError, RequestError, StorageFullError
from reelgrid.jobs.sql import database as database_module
from reelgrid.jobs.sql.database import Database
from reelgrid.jobs.sql.sql_queue import open_database, open_job_queue
from reelgrid.settings import DATABASE_FILE
from tests.jobs.builders import new_job, new_worker


def test_what_was_admitted_is_there_after_kill_9_and_half_a_transaction_is_not(
    tmp_path: Path,
) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from reelgrid.jobs.sql import schema
from reelgrid.jobs.sql.sql_queue import open_job_queue
from tests.jobs.builders import new_job
job_queue = open_job_queue(Path(sys.argv[1]))
print(job_queue.submit(new_job()).id, flush=True)
with job_queue.database.write() as connection:
    connection.execute(schema.job.update().values(phase="paused"))
    connection.execute(schema.usage.delete())
    os.kill(os.getpid(), signal.SIGKILL)
"""
    died = subprocess.run(
        [sys.executable, "-c", script, tmp_path / DATABASE_FILE],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONPATH": "src"},
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    job_queue = open_job_queue(tmp_path)
    taken = job_queue.claim(new_worker())
    assert taken is not None
    assert taken.id == died.stdout.strip()
    assert job_queue.usage()[0].num_jobs == 1
    job_queue.close()


def test_a_file_is_flushed_at_every_commit_and_read_while_it_is_written(tmp_path: Path) -> None:
    database = open_database(tmp_path / DATABASE_FILE)
    with database.read() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "journal_size_limit")
        }
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "journal_size_limit": 64 << 20,
    }
    with database.write(), database.read() as connection:
        connection.exec_driver_sql("SELECT * FROM job")
    database.close()


def test_a_locked_file_is_one_clear_error_and_readers_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "LOCK_TIMEOUT_S", 0.2)
    job_queue = open_job_queue(tmp_path)
    job = job_queue.submit(new_job())
    holder = sqlite3.connect(tmp_path / DATABASE_FILE, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(BusyError, match="is held by another transaction: try again"):
        job_queue.submit(new_job())
    assert job_queue.get(job.id) == job
    holder.execute("ROLLBACK")
    holder.close()
    job_queue.submit(new_job())
    job_queue.close()


def test_a_full_disk_is_one_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    job_queue = open_job_queue(tmp_path)
    job = job_queue.submit(new_job())
    with job_queue.database.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    job_queue.close()
    job_queue = open_job_queue(tmp_path)
    with job_queue.database.read() as connection:  # the connection that the pool gives out next
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StorageFullError, match="its disk is full: free some space"):
        job_queue.submit(new_job(request={"prompt": "x" * 50_000}))
    assert job_queue.get(job.id) == job
    with job_queue.database.read() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    job_queue.submit(new_job(request={"prompt": "x" * 50_000}))
    job_queue.close()


def test_a_log_that_may_not_grow_is_one_clear_error(tmp_path: Path) -> None:
    """The system refuses for real: the process may not write files above a size."""
    script = """
import resource, signal, sys
from pathlib import Path
from reelgrid.errors import ReelgridError
from reelgrid.jobs.sql.sql_queue import open_job_queue
from tests.jobs.builders import new_job
job_queue = open_job_queue(Path(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = Path(sys.argv[1] + "-wal").stat().st_size + 20_000
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
admitted = []
try:
    while len(admitted) < 1_000:
        admitted.append(job_queue.submit(new_job()).id)
except ReelgridError as error:
    print(len(admitted), type(error).__name__, error, flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / DATABASE_FILE],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONPATH": "src"},
    )
    assert done.returncode == 0, done.stderr
    num, kind, message = done.stdout.split(maxsplit=2)
    assert kind in {"StorageFullError", "JobQueueError"}
    assert message.count("\n") == 1
    job_queue = open_job_queue(tmp_path)
    assert len(job_queue.list(limit=1_000).jobs) == int(num)
    job_queue.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_one_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(JobQueueError):
        open_job_queue(tmp_path / DATABASE_FILE)


def test_a_file_that_is_no_database_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / DATABASE_FILE).write_bytes(b"no database at all" * 100)
    with pytest.raises(JobQueueError, match="refused: file is not a database"):
        open_job_queue(tmp_path)


def test_a_server_that_is_not_there_is_one_clear_error_without_the_password() -> None:
    with pytest.raises(JobQueueError, match="refused: connection") as refused:
        open_job_queue("postgresql://ann:hunter2@127.0.0.1:1/queue")
    assert "hunter2" not in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://a/b", "cannot use mysql"),
        ("sqlite://", "lost at once"),
        ("postgresql://a:b:c:d@:x/", "no URL such as"),
    ],
)
def test_an_address_of_another_kind_is_refused(url: str, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        open_job_queue(url)


def test_a_queue_that_must_exist_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="there is no job queue"):
        open_job_queue(tmp_path / DATABASE_FILE, must_exist=True)
    assert not (tmp_path / DATABASE_FILE).exists()


@pytest.mark.parametrize("url", ["postgres://a@b/c", "postgresql://a@b/c", "sqlite:///x.sqlite"])
def test_addresses_are_taken_as_people_write_them(url: str) -> None:
    database = Database(url)
    assert database.dialect == ("sqlite" if "sqlite" in url else "postgresql")
    database.close()


def test_every_error_of_the_queue_is_in_the_tree() -> None:
    assert all(
        issubclass(kind, ReelgridError) for kind in (BusyError, JobQueueError, StorageFullError)
    )


def test_a_process_that_froze_within_a_transaction_holds_others_up_for_a_moment_only(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "IDLE_TRANSACTION_S", 0.3)
    job_queue = open_job_queue(postgres_url)
    job = job_queue.submit(new_job())

    def freeze() -> None:
        with job_queue.database.write() as connection:
            connection.exec_driver_sql("UPDATE job SET reason = 'frozen'")
            assert job_queue.cancel(job.id).reason is None  # waits, and is not refused
            connection.exec_driver_sql("SELECT 1")

    with pytest.raises(BusyError, match="try again"):
        freeze()
    assert job_queue.get(job.id).reason is None
    job_queue.delete(job.id)
    job_queue.close()


def test_nothing_is_admitted_into_a_file_that_was_removed_or_replaced(tmp_path: Path) -> None:
    job_queue = open_job_queue(tmp_path / DATABASE_FILE)
    job = job_queue.submit(new_job())
    away = tmp_path / "away"
    away.mkdir()
    for file in tmp_path.glob("jobs.sqlite*"):
        file.rename(away / file.name)
    with pytest.raises(JobQueueError, match="was removed or replaced"):
        job_queue.submit(new_job())
    open_job_queue(tmp_path / DATABASE_FILE).close()
    with pytest.raises(JobQueueError, match="was removed or replaced"):
        job_queue.submit(new_job())
    for file in tmp_path.glob("jobs.sqlite*"):
        file.unlink()
    for file in away.iterdir():
        file.rename(tmp_path / file.name)
    assert {job_queue.submit(new_job()).id, job.id} == {each.id for each in job_queue.list().jobs}
    job_queue.close()
