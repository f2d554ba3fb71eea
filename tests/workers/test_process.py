"""Worker processes started by hand or without settings: stopped, frozen, and unable to start."""

import os
import signal
import subprocess
import time
from contextlib import closing, nullcontext

import pytest

from reelgrid import catalog
from reelgrid.jobs.job import JobKind, NewJob, Phase
from reelgrid.jobs.request import JobRequest
from reelgrid.jobs.sql.sql_queue import open_job_queue
from reelgrid.spec import Request
from reelgrid.store.blobs import Blobs
from reelgrid.workers.__main__ import main, run
from reelgrid.workers.lease import Watchdog
from reelgrid.workers.pipes import LivenessPipe, LivenessReader, WorkerProcess
from reelgrid.workers.settings import WorkerIntervals, WorkerSettings
from reelgrid.workers.shutdown import GracefulShutdown
from reelgrid.workers.supervisor import PROGRAM
from tests.chaos.trace_events import TraceReader, losses

LEASE_S = 5.0


@pytest.fixture
def job_queue(tmp_path):
    with closing(open_job_queue(tmp_path / "jobs.sqlite")) as job_queue:
        yield job_queue


class Processes:
    """Worker processes by number: started by hand with a file, or blank."""

    def __init__(self, folder):
        self._folder = folder
        self._started = []

    def settings(self, number, **changes):
        return WorkerSettings(
            **{
                "name": f"worker-{number}",
                "database": str(self._folder / "jobs.sqlite"),
                "blobs": str(self._folder / "blobs"),
                "scratch": self._folder / "scratch" / str(number),
                "data": self._folder,
                "is_signed": False,
                "trace": self._folder / "trace",
                "intervals": WorkerIntervals(
                    lease_s=LEASE_S, heartbeat_every_s=0.5, checkpoint_every_s=0.2
                ),
                **changes,
            }
        )

    def start(self, number):
        file = self._folder / f"worker-{number}.json"
        file.write_bytes(self.settings(number).message())
        process = subprocess.Popen([*PROGRAM, str(file)], stderr=subprocess.PIPE, text=True)
        self._started.append(process)
        return process

    def start_blank(self):
        worker = WorkerProcess(PROGRAM)
        self._started.append(worker.process)
        return worker

    def end(self):
        for process in self._started:
            process.kill()
            process.wait()
            for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
                pipe.close()


@pytest.fixture
def processes(tmp_path):
    made = Processes(tmp_path)
    yield made
    made.end()


def submit(job_queue, num_steps):
    card = catalog.find("embedded")
    assert card is not None
    job_request = JobRequest(
        request=card.complete(Request("a red ball", seed=1, num_steps=num_steps))
    )
    return job_queue.submit(
        NewJob(
            kind=JobKind.VIDEO,
            owner="local",
            model="embedded",
            request=job_request.to_json(),
            estimate_s=1.0,
            memory_gib=0.1,
            num_steps=num_steps,
        )
    )


def until(condition, at_most_s=150.0):
    give_up_at = time.monotonic() + at_most_s
    while not condition():
        assert time.monotonic() < give_up_at, "it did not happen"
        time.sleep(0.01)


def test_told_to_stop_it_saves_and_waking_too_late_it_has_no_effect(job_queue, processes, tmp_path):
    reader = TraceReader(tmp_path / "trace")

    def steps(worker):
        return [e["step"] for e in reader.read() if e["event"] == "step" and e["worker"] == worker]

    def dropped(worker):
        return [e for e in reader.read() if e["event"] == "dropped" and e["worker"] == worker]

    job = submit(job_queue, 1_000)
    blank, leaver, victim = processes.start_blank(), processes.start(0), processes.start(1)
    until(lambda: len(steps("worker-0")) + len(steps("worker-1")) > 20)
    leaver, victim = (leaver, victim) if steps("worker-0") else (victim, leaver)
    first, second = ("worker-0", "worker-1") if steps("worker-0") else ("worker-1", "worker-0")

    leaver.send_signal(signal.SIGTERM)
    assert leaver.wait(30) == 0
    until(lambda: len(steps(second)) > 20)
    assert steps(second)[0] == steps(first)[-1] + 1
    assert [loss.num_steps for loss in losses(reader.read())] == [0]

    victim.send_signal(signal.SIGSTOP)  # for longer than its lease
    assert blank.send(processes.settings(2).message())
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
    blank.close()
    assert blank.process.wait(30) == 0


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        ({"models": ("no-such-model-anywhere",)}, 1, "no-such-model-anywhere"),
        ({"device": "abacus"}, 2, "no device 'abacus'"),
    ],
)
def test_a_worker_that_cannot_start_says_why_in_one_line(
    processes, monkeypatch, capsys, change, code, reason
):
    monkeypatch.setattr(GracefulShutdown, "listen_for_signals", lambda shutdown: None)
    monkeypatch.setattr("reelgrid.logs.configure", lambda level: None)
    monkeypatch.setattr("reelgrid.workers.__main__.imports_without_collection", nullcontext)
    read, write = os.pipe()
    liveness = LivenessPipe(write, lambda: True)
    message = processes.settings(0, **change).message()
    assert run(message, Watchdog(), liveness, None) == code
    liveness.close()
    reader = LivenessReader(read)
    while reader.failure is None:
        assert reader.wait(60) == "sign"
    assert reason in reader.failure
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"reelgrid worker: {reader.failure}"


def test_a_message_without_a_database_ends_a_blank_worker_with_the_reason():
    worker = WorkerProcess(PROGRAM)
    assert worker.send(b'{"blobs": "b", "scratch": "s"}\n')
    while worker.liveness.wait(60) == "sign":
        pass
    assert worker.process.wait(60) == 2
    worker.close()
    assert worker.liveness.failure == (
        "a worker's settings are wrong in 'database': Field required"
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["no-such-file.json"], "No such file or directory: 'no-such-file.json'"),
        (["one.json", "two.json"], "give one file of settings"),
    ],
)
def test_a_worker_by_hand_without_its_file_is_one_line(monkeypatch, capsys, arguments, reason):
    monkeypatch.setattr("reelgrid.workers.__main__.prepare_process", lambda: None)
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert reason in line


def test_a_worker_with_a_closed_stdin_and_no_file_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr("reelgrid.workers.__main__.prepare_process", lambda: None)
    monkeypatch.setattr("sys.stdin", None)
    assert main([]) == 2
    assert "give one file of settings" in capsys.readouterr().err
