"""Processes that write one SQLite file take turns, and nobody's death or absence stops the others."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from reelgrid.errors import BusyError
from reelgrid.jobs.sql import database as database_module
from reelgrid.jobs.sql.sql_queue import FILE, open_job_queue
from reelgrid.jobs.sql.write_lock import Turnstile
from tests.jobs.builders import new_job

PATIENCE_S = 20.0


def test_one_at_a_time_goes_through_of_all_threads_and_all_openers(tmp_path: Path) -> None:
    openers = [Turnstile(tmp_path / "queue") for _ in range(3)]
    inside = most = passed = 0
    guard = threading.Lock()

    def go(each: Turnstile) -> None:
        nonlocal inside, most, passed
        for _ in range(20):
            with each.passing(PATIENCE_S):
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


def test_a_turn_ends_with_the_process_that_had_it(tmp_path: Path) -> None:
    script = f"""
import fcntl, sys, time
file = open({str(tmp_path / "queue")!r}, "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("mine", flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"mine\n"
        turnstile = Turnstile(tmp_path / "queue")
        with pytest.raises(TimeoutError), turnstile.passing(0.05):
            pass
        holder.kill()
        with turnstile.passing(PATIENCE_S):
            pass
    turnstile.close()


def test_a_turn_ends_with_an_error_inside(tmp_path: Path) -> None:
    turnstile, other = Turnstile(tmp_path / "queue"), Turnstile(tmp_path / "queue")
    with pytest.raises(ZeroDivisionError), turnstile.passing(PATIENCE_S):
        raise ZeroDivisionError
    for each in (other, turnstile):
        with each.passing(PATIENCE_S):
            pass
        each.close()


def test_where_no_queue_can_be_kept_nobody_waits(tmp_path: Path) -> None:
    turnstile = Turnstile(tmp_path / "nowhere" / "queue")
    with turnstile.passing(PATIENCE_S):
        pass
    assert list(tmp_path.iterdir()) == []
    turnstile.close()


def test_who_gets_no_turn_is_told_in_one_line_and_readers_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_queue = open_job_queue(tmp_path)
    job = job_queue.submit(new_job())
    monkeypatch.setattr(database_module, "PATIENCE_S", 0.05)
    other = Turnstile(tmp_path / f"{FILE}-queue")
    with other.passing(PATIENCE_S):
        with pytest.raises(BusyError, match="is held by another transaction: try again"):
            job_queue.submit(new_job())
        assert job_queue.get(job.id) == job
    job_queue.submit(new_job())
    other.close()
    job_queue.close()
