"""The supervisor with processes that are a few lines of Python: they live, die, freeze and refuse."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from signal import SIGKILL
from types import SimpleNamespace

import pytest

from reelgrid.workers import pipes, supervisor
from reelgrid.workers.supervisor import Supervisor

HEAD = """
import os, signal, sys, threading, time
lifeline, signs = int(sys.argv[1]), int(sys.argv[2])
def say(sign): os.write(signs, sign)
"""
LIVES = (
    HEAD
    + """
say(b"r")
while os.read(lifeline, 1): print("woken", flush=True)
"""
)
STOPS_WHEN_ASKED = (
    HEAD
    + """
signal.signal(signal.SIGTERM, lambda *_: (open(sys.argv[3], "w").write("saved"), sys.exit(0)))
say(b"r")
while os.read(lifeline, 1): pass
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


def command(program, *more):
    def build(name, ends):
        return [sys.executable, "-S", "-c", program, str(ends.lifeline), str(ends.signs), *more]

    return build


def until(condition, at_most_s=20.0):
    give_up_at = time.monotonic() + at_most_s
    while not condition():
        assert time.monotonic() < give_up_at, "it did not happen"
        time.sleep(0.005)


@contextmanager
def supervised(*programs, **settings):
    buried: list[str] = []
    made = Supervisor([command(*program) for program in programs], buried.append, **settings)
    made.start()
    try:
        yield made, buried
    finally:
        made.stop()


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_worker_that_dies_is_started_again_and_its_leases_are_ended():
    with supervised([LIVES]) as (made, buried):
        until(lambda: made.is_ready)
        name, process = made.slots[0].name, made.slots[0].process
        process.kill()
        until(lambda: made.slots[0].num_starts == 2 and made.is_ready)
        assert buried == [name]
        assert made.slots[0].name != name
        assert made.failures == ()


def test_leases_are_ended_only_when_the_process_is_gone():
    seen = []
    made = Supervisor(
        [command(LIVES)], lambda name: seen.append(made.slots[0].process or is_gone(pid))
    )
    made.start()
    until(lambda: made.is_ready)
    assert made.slots[0].process is not None
    pid = made.slots[0].process.pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: seen)
    made.stop()
    assert seen[0] is True


def test_several_workers_live_and_die_apart():
    with supervised([LIVES], [LIVES]) as (made, buried):
        until(lambda: all(slot.is_ready for slot in made.slots))
        other = made.slots[1].process
        made.slots[0].process.kill()
        until(lambda: made.slots[0].num_starts == 2)
        assert made.slots[1].process is other
        assert len(buried) == 1


def test_a_worker_that_dies_before_it_can_work_is_said_to_be_in_a_crash_loop(monkeypatch, caplog):
    monkeypatch.setattr(supervisor, "_FIRST_PAUSE_S", 0.001)
    with supervised([REFUSES]) as (made, _):
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
    with supervised([LIVES]) as (made, _):
        until(lambda: made.is_ready)
    assert caplog.text.count("Cannot allocate memory") == 2


def test_pauses_between_early_deaths_double_up_to_a_limit():
    made = Supervisor([command(LIVES)], print)
    slot = made.slots[0]
    pauses = []
    for slot.num_early_deaths in range(12):
        pauses.append(made._pause_s(slot))
    assert pauses[:4] == [0.0, 0.5, 1.0, 2.0]
    assert max(pauses) == pauses[-1] == supervisor.MAX_PAUSE_S


def test_workers_are_asked_to_save_before_they_are_stopped(tmp_path):
    with supervised([STOPS_WHEN_ASKED, str(tmp_path / "note")]) as (made, _):
        until(lambda: made.is_ready)
    assert (tmp_path / "note").read_text(encoding="utf-8") == "saved"


def test_a_worker_that_does_not_stop_is_killed(caplog):
    with supervised([NEVER_STOPS], grace_s=0.2) as (made, buried):
        until(lambda: made.is_ready)
        assert made.slots[0].process is not None
        pid = made.slots[0].process.pid
    assert is_gone(pid)
    assert len(buried) == 1
    assert "does not leave and is killed" in caplog.text


def test_a_frozen_worker_is_killed_and_started_again(monkeypatch, caplog):
    monkeypatch.setattr(supervisor, "SIGN_EVERY_S", 0.01)
    with supervised([LIVES], frozen_after_s=0.05) as (made, buried):
        until(lambda: made.slots[0].num_starts == 3)
        assert len(buried) >= 2
    assert "no sign of life" in caplog.text


def test_a_worker_that_shows_life_is_left_alone(monkeypatch):
    """Two quiet intervals between signs are fine, however often; the third in a row is not."""
    signals: list[int] = []
    made = Supervisor([command(LIVES)], print, frozen_after_s=2 * pipes.SIGN_EVERY_S)
    monkeypatch.setattr(made, "_signal", lambda slot, number: signals.append(number))
    for heard, expected in ((["quiet", "quiet", "sign"] * 5, []), (["quiet"] * 3, [SIGKILL])):
        told = iter([*heard, "end"])
        signs = SimpleNamespace(wait=lambda _, told=told: next(told), is_ready=False)
        made._watch(made.slots[0], SimpleNamespace(signs=signs))  # type: ignore[arg-type]
        assert signals == expected


def test_waking_reaches_the_worker(capfd):
    with supervised([LIVES]) as (made, _):
        until(lambda: made.is_ready)
        made.wake()
        until(lambda: "woken" in capfd.readouterr().out)


def test_waking_nobody_is_no_mistake():
    Supervisor([command(LIVES)], print).wake()


PARENT = """
import sys, time
sys.path[:0] = sys.argv[1].split(":")
from reelgrid.workers.supervisor import Supervisor
from tests.workers.test_supervisor import LIVES, command
made = Supervisor([command(LIVES)], print)
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


def test_a_worker_hears_of_its_supervisor_s_end():
    read, write = os.pipe()
    woken, ended = threading.Event(), threading.Event()
    pipes.ParentWatch(read, woken.set, ended.set)
    os.write(write, pipes.WAKE)
    assert woken.wait(10)
    assert not ended.is_set()
    os.close(write)
    assert ended.wait(10)


@pytest.mark.parametrize("is_well", [True, False])
def test_a_worker_shows_life_only_while_its_work_goes_on(monkeypatch, is_well):
    monkeypatch.setattr(pipes, "SIGN_EVERY_S", 0.01)
    read, write = os.pipe()
    signs = pipes.Signs(write)
    signs.depend_on(lambda: is_well)
    heard = pipes.SignsRead(read).wait(20.0 if is_well else 0.3)
    signs.close()
    assert heard == ("sign" if is_well else "quiet")


def test_a_worker_that_is_ready_is_known_to_be_however_full_the_pipe_was(monkeypatch):
    monkeypatch.setattr(pipes, "SIGN_EVERY_S", 0.01)
    read, write = os.pipe()
    os.set_blocking(write, False)
    while True:
        try:
            os.write(write, b"." * 512)
        except BlockingIOError:
            break
    signs, heard = pipes.Signs(write), pipes.SignsRead(read)
    signs.ready()
    until(lambda: heard.wait(1.0) == "sign" and heard.is_ready)
    signs.close()


def test_a_reason_is_read_whole_even_in_pieces():
    read, write = os.pipe()
    heard = pipes.SignsRead(read)
    for piece in (b"..!no such ", b"model\n"):
        os.write(write, piece)
        heard.wait(1)
    assert heard.failure == "no such model"
    assert not heard.is_ready
