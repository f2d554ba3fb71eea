"""The standby, a started process without a worker's settings, replaces a worker that dies."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress

import pytest

from reelgrid.workers.pipes import ParentPipe
from tests.workers.test_supervisor import LIVES, is_gone, supervise, until


@contextmanager
def supervised(*arguments, num_workers=1):
    made = supervise(LIVES, *arguments, num_workers=num_workers, has_standby=True)
    made.start()
    try:
        until(lambda: all(slot.is_ready for slot in made.slots))
        until(lambda: standby_pid(made) is not None)
        yield made
    finally:
        made.stop()


def standby_pid(made):
    standby = made._standby
    return None if standby is None else standby.process.pid


def test_the_standby_replaces_a_dead_worker_and_another_is_prepared(capfd):
    with supervised() as made:
        waiting = standby_pid(made)
        made.slots[0].process.kill()
        until(lambda: made.slots[0].num_starts == 2 and made.is_ready)
        assert made.slots[0].process.pid == waiting
        assert f"told {made.slots[0].name}\n" in capfd.readouterr().err
        until(lambda: standby_pid(made) not in (None, waiting))


def test_what_follows_the_message_is_for_the_worker(tmp_path):
    received = tmp_path / "received"
    with supervised(str(received)) as made:
        made.slots[0].process.kill()
        until(lambda: made.slots[0].num_starts == 2)
        made.wake()
        until(lambda: received.exists() and received.read_bytes() == b"w")


def test_one_standby_is_enough_for_several_workers():
    with supervised(num_workers=2) as made:
        waiting = standby_pid(made)
        for slot in made.slots:
            slot.process.kill()
        until(lambda: all(slot.num_starts == 2 and slot.is_ready for slot in made.slots))
        assert [slot.process.pid == waiting for slot in made.slots].count(True) == 1


def test_a_standby_that_is_dead_is_not_waited_for():
    with supervised() as made:
        waiting = standby_pid(made)
        os.kill(waiting, signal.SIGKILL)
        os.waitid(os.P_PID, waiting, os.WEXITED | os.WNOWAIT)
        made.slots[0].process.kill()
        until(lambda: made.slots[0].num_starts == 2 and made.is_ready)
        assert made.slots[0].process.pid != waiting
        assert made.slots[0].num_early_deaths == 0
        assert is_gone(waiting)


def test_nothing_is_left_of_the_standby_when_the_supervisor_stops():
    with supervised() as made:
        waiting = standby_pid(made)
        made.stop()
        assert is_gone(waiting)


def test_without_a_standby_a_new_process_is_started():
    made = supervise(LIVES)
    made.start()
    until(lambda: made.is_ready)
    assert made.slots[0].process is not None
    made.slots[0].process.kill()
    until(lambda: made.slots[0].num_starts == 2 and made.is_ready)
    assert standby_pid(made) is None
    made.stop()


def test_a_standby_that_cannot_be_started_costs_nothing_but_itself(monkeypatch, caplog):
    popen, num_allowed = subprocess.Popen, iter(range(1))

    def open_process(*arguments, **settings):
        if next(num_allowed, None) is None:
            raise OSError(12, "Cannot allocate memory")
        return popen(*arguments, **settings)

    monkeypatch.setattr(subprocess, "Popen", open_process)
    made = supervise(LIVES, has_standby=True)
    made.start()
    until(lambda: "no standby worker can be started" in caplog.text)
    assert made.is_ready
    made.stop()


@pytest.fixture
def pipe():
    read, write = os.pipe()
    yield read, write
    for end in (read, write):
        with suppress(OSError):
            os.close(end)


@pytest.mark.parametrize("sent", [b"", b'{"name": "o'])
def test_a_message_that_breaks_off_is_none(pipe, sent):
    read, write = pipe
    os.write(write, sent)
    os.close(write)
    assert ParentPipe(read).read_message() is None


def test_a_message_is_read_and_no_byte_of_what_follows(pipe):
    read, write = pipe
    os.write(write, b'{"name": "a b"}\nww')
    assert ParentPipe(read).read_message() == b'{"name": "a b"}\n'
    assert os.read(read, 10) == b"ww"


PRINTS = """
import os, sys
from reelgrid.workers.pipes import take_pipes
_, to_parent = take_pipes()
print("noise", flush=True)
print(repr(sys.stdin.read()), flush=True)
os.write(to_parent, b"r")
"""


def test_what_libraries_print_does_not_reach_the_liveness_pipe():
    done = subprocess.run(
        [sys.executable, "-c", PRINTS], check=True, input=b"message", capture_output=True
    )
    assert done.stdout == b"r"
    assert done.stderr == b"noise\n''\n"
