"""Worker processes as they are started by hand: told to leave, killed, and unable to begin."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest

from reelgrid import catalog
from reelgrid.jobs.job import JobKind, NewJob, Phase
from reelgrid.jobs.request import JobRequest
from reelgrid.jobs.sql.sql_queue import open_job_queue
from reelgrid.spec import Request
from reelgrid.store.blobs import Blobs
from reelgrid.workers.__main__ import _work
from reelgrid.workers.child import Child
from reelgrid.workers.habits import WorkerIntervals
from reelgrid.workers.pipes import Signs, SignsRead
from reelgrid.workers.settings import NUM_WORDS, WorkerSettings
from reelgrid.workers.shutdown import GracefulShutdown
from tests.chaos.trace_events import TraceReader, losses

LEASE_S = 2.0


@pytest.fixture
def job_queue(tmp_path):
    with closing(open_job_queue(tmp_path / "jobs.sqlite")) as job_queue:
        yield job_queue


class Processes:
    """Worker processes by number, and one that waits to be told that it is one."""

    def __init__(self, folder):
        self._started = []
        self._settings = WorkerSettings(
            database=str(folder / "jobs.sqlite"),
            blobs=str(folder / "blobs"),
            scratch=folder / "scratch",
            data=folder,
            is_signed=False,
            trace=folder / "journal",
            intervals=WorkerIntervals(
                lease_s=LEASE_S, heartbeat_every_s=0.5, checkpoint_every_s=0.2
            ),
        )
        self._environment = {**self._settings.environment, "OMP_NUM_THREADS": "1"}

    def command(self, number, ends=None):
        return self._settings.command(number)(f"worker-{number}", ends)

    def start(self, number, *more):
        command = [*self.command(number), *more]
        environment = {**os.environ, **self._environment}
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        self._started.append(process)
        return process

    def start_spare(self):
        child = Child(self._settings.standby, self._environment)
        self._started.append(child.process)
        return child

    def end(self):
        for process in self._started:
            process.kill()
            process.communicate()


@pytest.fixture
def processes(tmp_path):
    made = Processes(tmp_path)
    yield made
    made.end()


def submit(job_queue, num_steps):
    card = catalog.find("embedded")
    assert card is not None
    order = JobRequest(request=card.complete(Request("a red ball", seed=1, num_steps=num_steps)))
    return job_queue.submit(
        NewJob(
            kind=JobKind.VIDEO,
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


def test_told_to_leave_it_saves_and_waking_too_late_it_has_no_effect(
    job_queue, processes, tmp_path
):
    reader = TraceReader(tmp_path / "journal")

    def steps(worker):
        return [e["step"] for e in reader.read() if e["event"] == "step" and e["worker"] == worker]

    def dropped(worker):
        return [e for e in reader.read() if e["event"] == "dropped" and e["worker"] == worker]

    job = submit(job_queue, 1_000)
    spare, leaver, victim = processes.start_spare(), processes.start(0), processes.start(1)
    until(lambda: len(steps("worker-0")) + len(steps("worker-1")) > 20)
    leaver, victim = (leaver, victim) if steps("worker-0") else (victim, leaver)
    first, second = ("worker-0", "worker-1") if steps("worker-0") else ("worker-1", "worker-0")

    leaver.send_signal(signal.SIGTERM)
    assert leaver.wait(30) == 0
    until(lambda: len(steps(second)) > 20)
    assert steps(second)[0] == steps(first)[-1] + 1
    assert [loss.num_steps for loss in losses(reader.read())] == [0]

    victim.send_signal(signal.SIGSTOP)  # for longer than its lease
    assert spare.tell(json.dumps(processes.command(2, spare.ends)).encode() + b"\n")
    until(lambda: steps("worker-2"))
    assert 1 < steps("worker-2")[0] <= steps(second)[-1] + 1
    job_queue.cancel(job.id)
    until(lambda: job_queue.get(job.id).phase is Phase.FAILED)

    until(lambda: Blobs(tmp_path / "blobs").list() == [])
    before = job_queue.get(job.id)
    assert dropped(second) == []
    victim.send_signal(signal.SIGCONT)
    until(lambda: dropped(second))
    assert job_queue.get(job.id) == before
    assert Blobs(tmp_path / "blobs").list() == []
    spare.close()
    assert spare.process.wait(30) == 0


@pytest.mark.parametrize(
    ("flag", "code", "reason"),
    [
        ("--models=no-such-model-anywhere", 1, "no-such-model-anywhere"),
        ("--device=abacus", 2, "no device 'abacus'"),
    ],
)
def test_a_worker_that_cannot_begin_says_why_in_one_line(
    processes, tmp_path, monkeypatch, capsys, flag, code, reason
):
    monkeypatch.setattr(GracefulShutdown, "on_signals", lambda departure: None)
    monkeypatch.setattr("reelgrid.logs.configure", lambda level: None)
    stores = [f"--database={tmp_path / 'job_queue.sqlite'}", f"--blobs={tmp_path / 'blobs'}"]
    read, write = os.pipe()
    signs = Signs(write)
    assert _work([*processes.command(0)[NUM_WORDS:], *stores, flag], signs) == code
    signs.close()
    heard = SignsRead(read)
    while heard.failure is None:
        assert heard.wait(10) == "sign"
    assert reason in heard.failure
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"reelgrid worker: {heard.failure}"


def test_without_a_database_there_is_no_worker():
    command = [sys.executable, "-m", "reelgrid.workers", "--blobs=b", "--scratch=s"]
    environment = {name: value for name, value in os.environ.items() if "DATABASE" not in name}
    said = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert said.returncode == 2
    assert said.stderr == "reelgrid worker: give --database or set REELGRID_DATABASE\n"
