"""Ctrl-C at any time ends a simulation whose runs are on threads."""

import _thread
import signal
import sys
import threading
import time
from collections.abc import Callable

import pytest

from reelgrid.plan.simulation import run
from tests.plan.simulation.fleets import queueing

ENOUGH_S = 30.0


@pytest.fixture
def endless(monkeypatch):
    """Make every run endless until it is stopped; return the runs that ended by themselves.

    The handler is set because a process in the background may have been started without one.
    """
    ended: list[int] = []
    interrupts: list[Callable[[], None]] = []
    is_over, both_run = threading.Event(), threading.Barrier(2)

    def run_endlessly(_, *, on_time):
        if both_run.wait(ENOUGH_S) == 0:
            interrupts[0]()
        step = 0
        while not is_over.wait(0.001):
            on_time(step := step + 1)
        ended.append(step)

    watchdog = threading.Timer(ENOUGH_S, is_over.set)
    watchdog.start()
    monkeypatch.setattr(run, "_load", lambda engine: run_endlessly)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield ended, interrupts
    signal.signal(signal.SIGINT, before)
    watchdog.cancel()
    watchdog.join()


def main_thread() -> int:
    ident = threading.main_thread().ident
    assert ident is not None
    return ident


def compare():
    run.compare(queueing(1, 0.5), num_runs=2, also_without_checkpoints=False, engine="fast")


def test_ctrl_c_reaches_runs_on_threads(endless):
    ended, interrupts = endless
    interrupts.append(lambda: signal.pthread_kill(main_thread(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        compare()
    assert not ended


def test_ctrl_c_is_noticed_although_it_does_not_wake_the_main_thread(endless):
    """A signal just before the main thread blocks sets a flag but does not wake the thread."""
    ended, interrupts = endless

    def interrupt():
        while sys._current_frames()[main_thread()].f_code is not threading.Condition.wait.__code__:
            time.sleep(0.001)
        _thread.interrupt_main()  # sets only the flag: no system call is interrupted

    interrupts.append(interrupt)
    with pytest.raises(KeyboardInterrupt):
        compare()
    assert not ended
