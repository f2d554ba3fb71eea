"""The supervisor with processes of a few lines of Python that run, die, freeze or fail to start."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from reelgrid.workers import pipes, supervisor
from reelgrid.workers.settings import WorkerSettings
from reelgrid.workers.supervisor import Supervisor

HEAD = """
import json, os, signal, sys, threading, time
def say(sign): os.write(1, sign)
def read_message():
    line = b""
    while not line.endswith(b"\\n"):
        byte = os.read(0, 1)
        if not byte: sys.exit(0)
        line += byte
    return json.loads(line)
"""
LIVES = (
    HEAD
    + """
print("told", read_message()["name"], file=sys.stderr, flush=True)
say(b"r")
while byte := os.read(0, 1):
    for path in sys.argv[1:]: open(path, "ab").write(byte)
"""
)
STOPS_WHEN_ASKED = (
    HEAD
    + """
signal.signal(signal.SIGTERM, lambda *_: (open(sys.argv[1], "w").write("saved"), sys.exit(0)))
say(b"r")
while os.read(0, 1): pass
"""
)
NEVER_STOPS = (
    HEAD
    + """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
say(b"r")
while True: time.sleep(60)
"""
)
REFUSES = (
    HEAD
    + """
say(b"!no such model\\n")
sys.exit(1)
"""
)

SETTINGS = WorkerSettings(name="nobody", database="", blobs="", scratch=Path())


def command(program, *arguments):
    return [sys.executable, "-S", "-c", program, *arguments]


def supervise(program, *arguments, num_workers=1, worker_died=lambda name: None, **options):
    workers = [SETTINGS] * num_workers
    options.setdefault("frozen_after_s", 600.0)  # a program of these tests shows life once
    return Supervisor(workers, worker_died, program=command(program, *arguments), **options)


def until(condition, at_most_s=60.0):
    give_up_at = time.monotonic() + at_most_s
    while not condition():
        assert time.monotonic() < give_up_at, "it did not happen"
        time.sleep(0.005)


@contextmanager
def supervised(program, *arguments, **options):
    died: list[str] = []
    made = supervise(program, *arguments, worker_died=died.append, **options)
    made.start()
    try:
        yield made, died
    finally:
        made.stop()


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_worker_that_dies_is_restarted_and_its_leases_are_ended():
    with supervised(LIVES) as (made, died):
        until(lambda: made.is_ready)
        name, process = made.slots[0].name, made.slots[0].process
        process.kill()
        until(lambda: made.slots[0].num_starts == 2 and made.is_ready)
        assert died == [name]
        assert made.slots[0].name != name
        assert made.failures == ()


def test_a_process_is_told_the_name_of_its_worker(capfd):
    with supervised(LIVES) as (made, _):
        until(lambda: made.is_ready)
        assert f"told {made.slots[0].name}\n" in capfd.readouterr().err


def test_nothing_about_a_worker_is_on_its_command_line_or_in_its_environment(tmp_path):
    """Addresses may hold passwords, and other users can read both."""
    shows = HEAD + (
        "read_message()\nopen(sys.argv[1], 'w').write(str((sys.argv, dict(os.environ))))\n"
        "say(b'r')\nwhile os.read(0, 1): pass"
    )
    secret = SETTINGS.model_copy(update={"database": "postgresql://user:secret-word@host/name"})
    shown = tmp_path / "shown"
    made = Supervisor([secret], print, program=command(shows, str(shown)))
    made.start()
    until(lambda: made.is_ready)
    made.stop()
    assert "secret-word" not in shown.read_text(encoding="utf-8")


def test_leases_are_ended_only_when_the_process_is_gone():
    pids: list[int] = []
    seen: list[bool] = []
    made = supervise(LIVES, worker_died=lambda name: seen.append(is_gone(pids[0])))
    made.start()
    until(lambda: made.is_ready)
    assert made.slots[0].process is not None
    pids.append(made.slots[0].process.pid)
    os.kill(pids[0], signal.SIGKILL)
    until(lambda: seen)
    made.stop()
    assert seen[0] is True


def test_several_workers_live_and_die_apart():
    with supervised(LIVES, num_workers=2) as (made, died):
        until(lambda: all(slot.is_ready for slot in made.slots))
        other = made.slots[1].process
        made.slots[0].process.kill()
        until(lambda: made.slots[0].num_starts == 2)
        assert made.slots[1].process is other
        assert len(died) == 1


def test_a_worker_that_dies_before_it_can_work_is_said_to_be_in_a_crash_loop(monkeypatch, caplog):
    monkeypatch.setattr(supervisor, "_FIRST_PAUSE_S", 0.001)
    with supervised(REFUSES) as (made, _):
        until(lambda: made.failures)
        assert "before it could take work: no such model" in made.failures[0]
        assert not made.is_ready
    assert "no such model; trying again in" in caplog.text


def test_a_worker_that_cannot_be_started_is_tried_again(monkeypatch, caplog):
    monkeypatch.setattr(supervisor, "_FIRST_PAUSE_S", 0.001)
    popen, refusals = subprocess.Popen, iter(range(2))

    def open_process(*arguments, **settings):
        if next(refusals, None) is not None:
            raise OSError(12, "Cannot allocate memory")
        return popen(*arguments, **settings)

    monkeypatch.setattr(subprocess, "Popen", open_process)
    with supervised(LIVES) as (made, _):
        until(lambda: made.is_ready)
    assert caplog.text.count("Cannot allocate memory") == 2


def test_pauses_between_early_deaths_double_up_to_a_limit():
    made = supervise(LIVES)
    slot = made.slots[0]
    pauses = []
    for slot.num_early_deaths in range(12):
        pauses.append(made._pause_s(slot))
    assert pauses[:4] == [0.0, 0.5, 1.0, 2.0]
    assert max(pauses) == pauses[-1] == supervisor.MAX_PAUSE_S


def test_workers_are_asked_to_save_before_they_are_stopped(tmp_path):
    with supervised(STOPS_WHEN_ASKED, str(tmp_path / "note")) as (made, _):
        until(lambda: made.is_ready)
    assert (tmp_path / "note").read_text(encoding="utf-8") == "saved"


def test_a_worker_that_does_not_stop_is_killed(caplog):
    with supervised(NEVER_STOPS, grace_s=0.2) as (made, died):
        until(lambda: made.is_ready)
        assert made.slots[0].process is not None
        pid = made.slots[0].process.pid
    assert is_gone(pid)
    assert len(died) == 1
    assert "does not stop and is killed" in caplog.text


def test_a_frozen_worker_is_killed_and_restarted(monkeypatch, caplog):
    monkeypatch.setattr(supervisor, "ALIVE_EVERY_S", 0.01)
    with supervised(LIVES, frozen_after_s=0.05) as (made, died):
        until(lambda: made.slots[0].num_starts >= 3)
        assert len(died) >= 2
    assert "no sign of life" in caplog.text


class ScriptedWorker:
    """A process whose liveness pipe sends what the test has prepared, and then closes."""

    def __init__(self, heard):
        self.liveness = self
        self.is_ready = True
        self._heard = iter(heard)

    def wait(self, at_most_s):
        return next(self._heard, "end")


def kills(monkeypatch, heard, frozen_after_s):
    made, signals = supervise(LIVES, frozen_after_s=frozen_after_s), []
    monkeypatch.setattr(made, "_signal", lambda slot, number: signals.append(number))
    made._watch(made.slots[0], ScriptedWorker(heard))
    return signals


def test_a_process_that_the_system_cannot_kill_is_killed_and_logged_once(monkeypatch, caplog):
    assert kills(monkeypatch, ["quiet"] * 100, frozen_after_s=20.0) == [signal.SIGKILL]
    assert caplog.text.count("no sign of life") == 1


def test_a_worker_that_shows_life_is_left_alone(monkeypatch):
    heard = [*["quiet"] * 20, "sign"] * 3
    assert kills(monkeypatch, heard, frozen_after_s=20.0) == []


def test_waking_reaches_the_worker(tmp_path):
    received = tmp_path / "received"
    with supervised(LIVES, str(received)) as (made, _):
        until(lambda: made.is_ready)
        made.wake()
        until(lambda: received.exists() and received.read_bytes() == b"w")


def test_waking_nobody_is_no_error():
    supervise(LIVES).wake()


PARENT = """
import sys, time
sys.path[:0] = sys.argv[1].split(":")
from tests.workers.test_supervisor import LIVES, supervise
made = supervise(LIVES)
made.start()
while not made.is_ready:
    time.sleep(0.005)
print(made.slots[0].process.pid, flush=True)
time.sleep(600)
"""


def test_a_supervisor_that_is_killed_leaves_no_orphan():
    arguments = [sys.executable, "-c", PARENT, ":".join(sys.path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        assert not is_gone(worker)
        parent.kill()
        until(lambda: is_gone(worker))


def test_a_worker_learns_of_its_supervisor_s_end():
    read, write = os.pipe()
    woken, ended = threading.Event(), threading.Event()
    pipes.ParentPipe(read).watch(woken.set, ended.set)
    os.write(write, pipes.WAKE)
    assert woken.wait(60)
    assert not ended.is_set()
    os.close(write)
    assert ended.wait(60)


@pytest.mark.parametrize("is_alive", [True, False])
def test_a_worker_shows_life_only_while_it_makes_progress(monkeypatch, is_alive):
    monkeypatch.setattr(pipes, "ALIVE_EVERY_S", 0.01)
    read, write = os.pipe()
    liveness = pipes.LivenessPipe(write, lambda: is_alive)
    heard = pipes.LivenessReader(read).wait(60.0 if is_alive else 0.2)
    liveness.close()
    assert heard == ("sign" if is_alive else "quiet")


def test_a_worker_that_is_ready_is_known_to_be_however_full_the_pipe_was(monkeypatch):
    monkeypatch.setattr(pipes, "ALIVE_EVERY_S", 0.01)
    read, write = os.pipe()
    os.set_blocking(write, False)
    while True:
        try:
            os.write(write, b"." * 512)
        except BlockingIOError:
            break
    liveness, reader = pipes.LivenessPipe(write, lambda: True), pipes.LivenessReader(read)
    liveness.ready()
    until(lambda: reader.wait(1.0) == "sign" and reader.is_ready)
    liveness.close()


def test_a_reason_is_read_whole_even_in_pieces():
    read, write = os.pipe()
    reader = pipes.LivenessReader(read)
    for piece in (b"..!no such ", b"model\n"):
        os.write(write, piece)
        reader.wait(1)
    assert reader.failure == "no such model"
    assert not reader.is_ready
