"""Worker processes as they are started by hand: told to leave, killed, and unable to begin."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest

from reelgrid import catalog
from reelgrid.fleet.habits import Habits
from reelgrid.fleet.settings import WorkerSettings
from reelgrid.jobs.job import Kind, NewJob, Phase
from reelgrid.jobs.request import JobRequest
from reelgrid.jobs.sql import open_desk
from reelgrid.spec import Request
from tests.chaos.account import JournalReader, losses

LEASE_S = 2.0


@pytest.fixture
def desk(tmp_path):
    with closing(open_desk(tmp_path / "desk.sqlite")) as desk:
        yield desk


@pytest.fixture
def start(tmp_path):
    """Starts worker processes by number, and leaves none of them behind."""
    started = []
    settings = WorkerSettings(
        database=str(tmp_path / "desk.sqlite"),
        blobs=str(tmp_path / "blobs"),
        scratch=tmp_path / "scratch",
        data=tmp_path,
        is_signed=False,
        journal=tmp_path / "journal",
        habits=Habits(lease_s=LEASE_S, beat_every_s=0.5, save_every_s=0.2),
    )

    def start_one(number, *more):
        command = [*settings.command(number)(f"worker-{number}", None), *more]
        environment = {**os.environ, **settings.environment, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()
        process.communicate()


def submit(desk, num_steps):
    card = catalog.find("embedded")
    assert card is not None
    order = JobRequest(request=card.complete(Request("a red ball", seed=1, num_steps=num_steps)))
    return desk.submit(
        NewJob(
            kind=Kind.VIDEO,
            owner="local",
            model="embedded",
            request=order.to_json(),
            estimate_s=1.0,
            memory_gib=0.1,
            num_steps=num_steps,
        )
    )


def until(condition, at_most_s=90.0):
    give_up_at = time.monotonic() + at_most_s
    while not condition():
        assert time.monotonic() < give_up_at, "it did not happen"
        time.sleep(0.01)


def test_told_to_leave_it_saves_and_killed_it_is_outlived_by_its_job(desk, start, tmp_path):
    reader = JournalReader(tmp_path / "journal")

    def steps(worker):
        return [e["step"] for e in reader.read() if e["event"] == "step" and e["worker"] == worker]

    job = submit(desk, 1_000)
    leaver, victim = start(0), start(1)
    until(lambda: len(steps("worker-0")) + len(steps("worker-1")) > 20)
    leaver, victim = (leaver, victim) if steps("worker-0") else (victim, leaver)
    first, second = ("worker-0", "worker-1") if steps("worker-0") else ("worker-1", "worker-0")

    leaver.send_signal(signal.SIGTERM)
    assert leaver.wait(30) == 0
    until(lambda: len(steps(second)) > 20)
    assert steps(second)[0] == steps(first)[-1] + 1
    assert [loss.num_steps for loss in losses(reader.read())] == [0]

    victim.kill()
    victim.wait()
    heir = start(2)
    until(lambda: steps("worker-2"))
    assert 1 < steps("worker-2")[0] <= steps(second)[-1] + 1
    desk.cancel(job.id)
    until(lambda: desk.get(job.id).phase is Phase.FAILED)
    heir.send_signal(signal.SIGTERM)
    assert heir.wait(30) == 0


@pytest.mark.parametrize(
    ("more", "code", "reason"),
    [
        (["--models", "no-such-model-anywhere"], 1, "no-such-model-anywhere"),
        (["--device", "abacus"], 2, "no device 'abacus'"),
    ],
)
def test_a_worker_that_cannot_begin_says_why_in_one_line(start, more, code, reason):
    process = start(0, *more)
    _, said = process.communicate(timeout=90)
    assert process.returncode == code
    assert reason in said
    assert len(said.strip().splitlines()) == 1


def test_without_a_database_there_is_no_worker():
    command = [sys.executable, "-m", "reelgrid.fleet", "--blobs=b", "--scratch=s"]
    environment = {name: value for name, value in os.environ.items() if "DATABASE" not in name}
    said = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert said.returncode == 2
    assert said.stderr == "reelgrid worker: give --database or set REELGRID_DATABASE\n"
