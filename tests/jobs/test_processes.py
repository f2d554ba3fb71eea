"""Real processes on one queue, some killed, some frozen: every job is finished exactly once."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from reelgrid.jobs.job import Phase
from reelgrid.jobs.sql.sql_queue import SqlJobQueue, open_job_queue
from tests.jobs.builders import TABLES, new_job
from tests.jobs.busy_worker import LEASE_S

NUM_JOBS = 40
FROZEN_S = 3 * LEASE_S
PATIENCE_S = 150.0


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'job_queue.sqlite'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def job_queue(url: str) -> SqlJobQueue:
    job_queue = open_job_queue(url)
    with job_queue.database.write() as connection:
        for table in TABLES:
            connection.exec_driver_sql(f"DELETE FROM {table}")
    return job_queue


def start(url: str, name: str, log: Path) -> "subprocess.Popen[bytes]":
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.jobs.busy_worker", url, name],
            stdout=output,
            cwd=Path(__file__).parents[2],
            env=os.environ | {"PYTHONPATH": "src"},
        )


def wait_for(job_queue: SqlJobQueue, num_completed: int) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while (
        sum(each.num for each in job_queue.job_counts() if each.phase == "completed")
        < num_completed
    ):
        assert time.monotonic() < give_up_s, job_queue.job_counts()
        time.sleep(0.02)


def test_every_job_is_finished_exactly_once_whoever_dies(
    job_queue: SqlJobQueue, url: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    ids = {job_queue.submit(new_job()).id for _ in range(NUM_JOBS)}
    workers = [start(url, f"w{number}", log) for number in range(4)]
    try:
        wait_for(job_queue, 5)
        workers[0].kill()
        workers[1].send_signal(signal.SIGSTOP)
        workers.append(start(url, "w4", log))
        time.sleep(
            FROZEN_S
        )  # longer might block all: SQLite waits for the process that has the file
        workers[1].send_signal(signal.SIGCONT)
        wait_for(job_queue, NUM_JOBS // 2)
        workers[2].kill()
        workers.append(start(url, "w5", log))
        wait_for(job_queue, NUM_JOBS)
    finally:
        for each in workers:
            each.kill()
            each.wait()
    jobs = job_queue.list(limit=1_000).jobs
    assert {job.id for job in jobs} == ids
    assert {job.phase for job in jobs} == {Phase.COMPLETED}
    for job in jobs:
        assert job.files == {"video": f"{job.id}-{job.epoch}"}  # of the last claim
    lines = log.read_text(encoding="utf-8").splitlines()
    finished = Counter(line.split()[1] for line in lines if line.startswith("finished"))
    assert set(finished.values()) == {1}
    assert NUM_JOBS - 2 <= len(finished) <= NUM_JOBS  # a killed worker may not have printed it
    sums = {(counter.name, counter.label): counter.num for counter in job_queue.counters()}
    assert sums["completed", "tiny"] == NUM_JOBS
    assert sum(num for (name, _), num in sums.items() if name == "workers_lost") >= 1
    job_queue.close()
