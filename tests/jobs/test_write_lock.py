"""The write lock: processes alternate, and the death or absence of one does not stop the others."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from reelgrid.errors import BusyError
from reelgrid.jobs.sql import database as database_module
from reelgrid.jobs.sql.sql_queue import open_job_queue
from reelgrid.jobs.sql.write_lock import WriteLock
from reelgrid.settings import DATABASE_FILE
from tests.jobs.builders import new_job

TIMEOUT_S = 20.0


def test_one_thread_of_all_processes_holds_the_lock_at_a_time(tmp_path: Path) -> None:
    openers = [WriteLock(tmp_path / "lock") for _ in range(3)]
    inside = most = passed = 0
    guard = threading.Lock()

    def go(each: WriteLock) -> None:
        nonlocal inside, most, passed
        for _ in range(20):
            with each.hold(TIMEOUT_S):
                with guard:
                    inside += 1
                    most = max(most, inside)
                time.sleep(0)  # let the others try
                with guard:
                    inside -= 1
                    passed += 1

    threads = [threading.Thread(target=go, args=(each,)) for each in openers * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, passed) == (1, 120)
    for each in openers:
        each.close()


def test_the_lock_is_dropped_with_the_process_that_held_it(tmp_path: Path) -> None:
    script = f"""
import fcntl, sys, time
file = open({str(tmp_path / "lock")!r}, "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("mine", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"mine\n"
        lock = WriteLock(tmp_path / "lock")
        with pytest.raises(TimeoutError), lock.hold(0.05):
            pass
        holder.kill()
        with lock.hold(TIMEOUT_S):
            pass
    lock.close()


def test_the_lock_is_dropped_after_an_error(tmp_path: Path) -> None:
    lock, other = WriteLock(tmp_path / "lock"), WriteLock(tmp_path / "lock")
    with pytest.raises(ZeroDivisionError), lock.hold(TIMEOUT_S):
        raise ZeroDivisionError
    for each in (other, lock):
        with each.hold(TIMEOUT_S):
            pass
        each.close()


def test_without_a_lock_file_the_lock_is_free(tmp_path: Path) -> None:
    lock = WriteLock(tmp_path / "nowhere" / "queue")
    with lock.hold(TIMEOUT_S):
        pass
    assert list(tmp_path.iterdir()) == []
    lock.close()


def test_a_lock_that_is_not_free_is_one_line_and_readers_continue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_queue = open_job_queue(tmp_path)
    job = job_queue.submit(new_job())
    monkeypatch.setattr(database_module, "LOCK_TIMEOUT_S", 0.05)
    other = WriteLock(tmp_path / f"{DATABASE_FILE}-lock")
    with other.hold(TIMEOUT_S):
        with pytest.raises(BusyError, match="is held by another transaction: try again"):
            job_queue.submit(new_job())
        assert job_queue.get(job.id) == job
    job_queue.submit(new_job())
    other.close()
    job_queue.close()
