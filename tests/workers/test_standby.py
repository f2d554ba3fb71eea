"""A spare takes a dead worker's place; processes are a few lines of Python but for the last test."""

import os
import signal
import subprocess
from contextlib import contextmanager, suppress

import pytest

from reelgrid.workers.pipes import Ends
from reelgrid.workers.standby import flags, read_ends, wait_for_order
from reelgrid.workers.supervisor import Supervisor
from tests.workers.test_supervisor import HEAD, LIVES, command, is_gone, until

WAITS = (
    HEAD
    + """
import json
line = b""
while not line.endswith(b"\\n"):
    said = os.read(lifeline, 1)
    if not said: sys.exit(0)
    line += said
print("order", json.loads(line)[-3:], flush=True)
say(b"r")
while said := os.read(lifeline, 1): print("woken", said, flush=True)
"""
)


def spare(program):
    return lambda ends: command(program)("", ends)


@contextmanager
def supervised(program=LIVES, spare_program=WAITS, num_workers=1):
    made = Supervisor(
        [command(program)] * num_workers, lambda name: None, spare=spare(spare_program)
    )
    made.start()
    try:
        until(lambda: all(slot.is_ready for slot in made.slots))
        until(lambda: pid_of_spare(made) is not None)
        yield made
    finally:
        made.stop()


def pid_of_spare(made):
    child = made._spare._child
    return None if child is None else child.process.pid


def test_a_dead_worker_s_place_is_taken_by_the_spare_and_another_is_prepared(capfd):
    with supervised() as made:
        waiting = pid_of_spare(made)
        made.slots[0].process.kill()
        until(lambda: made.slots[0].num_starts == 2 and made.is_ready)
        assert made.slots[0].process.pid == waiting
        ends = made.slots[0].child.ends
        order = str([LIVES, str(ends.lifeline), str(ends.signs)])
        until(lambda: order in capfd.readouterr().out)
        until(lambda: pid_of_spare(made) not in (None, waiting))


def test_what_is_said_behind_the_order_is_for_the_worker(capfd):
    with supervised() as made:
        made.slots[0].process.kill()
        until(lambda: made.slots[0].num_starts == 2)
        made.wake()
        until(lambda: "woken b'w'" in capfd.readouterr().out)


def test_one_spare_is_enough_for_several_workers():
    with supervised(num_workers=2) as made:
        waiting = pid_of_spare(made)
        for slot in made.slots:
            slot.process.kill()
        until(lambda: all(slot.num_starts == 2 and slot.is_ready for slot in made.slots))
        assert [slot.process.pid == waiting for slot in made.slots].count(True) == 1


def test_a_spare_that_is_dead_is_not_waited_for():
    with supervised() as made:
        waiting = pid_of_spare(made)
        os.kill(waiting, signal.SIGKILL)
        os.waitid(os.P_PID, waiting, os.WEXITED | os.WNOWAIT)
        made.slots[0].process.kill()
        until(lambda: made.slots[0].num_starts == 2 and made.is_ready)
        assert made.slots[0].process.pid != waiting
        assert made.slots[0].num_early_deaths == 0
        assert is_gone(waiting)


def test_nothing_is_left_of_a_spare_when_the_supervisor_stops():
    with supervised() as made:
        waiting = pid_of_spare(made)
        made.stop()
        assert is_gone(waiting)


def test_no_spare_is_kept_where_none_is_wanted():
    made = Supervisor([command(LIVES)], lambda name: None)
    made.start()
    until(lambda: made.is_ready)
    assert made.slots[0].process is not None
    made.slots[0].process.kill()
    until(lambda: made.slots[0].num_starts == 2 and made.is_ready)
    assert pid_of_spare(made) is None
    made.stop()


def test_a_spare_that_cannot_be_started_costs_nothing_but_itself(monkeypatch, caplog):
    popen = subprocess.Popen

    def refuse(words, **settings):
        if WAITS in words:
            raise OSError(12, "Cannot allocate memory")
        return popen(words, **settings)

    monkeypatch.setattr(subprocess, "Popen", refuse)
    made = Supervisor([command(LIVES)], lambda name: None, spare=spare(WAITS))
    made.start()
    until(lambda: "no spare worker can be started" in caplog.text)
    until(lambda: made.is_ready)
    made.stop()


@pytest.fixture
def pipe():
    read, write = os.pipe()
    yield read, write
    for end in (read, write):
        with suppress(OSError):
            os.close(end)


def test_a_spare_whose_supervisor_is_gone_is_not_needed(pipe):
    read, write = pipe
    os.close(write)
    assert wait_for_order(read) is None


def test_an_order_that_breaks_off_is_none(pipe):
    read, write = pipe
    os.write(write, b'["python", "-m"')
    os.close(write)
    assert wait_for_order(read) is None


def test_an_order_is_read_and_no_byte_of_what_follows(pipe):
    read, write = pipe
    os.write(write, b'["python", "a b"]\nww')
    assert wait_for_order(read) == ["python", "a b"]
    assert os.read(read, 10) == b"ww"


def test_the_arguments_of_a_spare_are_not_those_of_a_worker():
    assert read_ends(flags(Ends(5, 7))) == Ends(5, 7)
    assert read_ends(["--scratch=s"]) is None
    assert read_ends([]) is None
