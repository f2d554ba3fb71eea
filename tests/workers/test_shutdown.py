import signal
import subprocess
import sys
import threading

from reelgrid.workers import shutdown as departure_module
from reelgrid.workers.shutdown import GracefulShutdown


class Ended:
    """Where the process would end."""

    def __init__(self):
        self.codes = []
        self.was_reached = threading.Event()

    def __call__(self, code):
        self.codes.append(code)
        self.was_reached.set()


def test_a_worker_that_has_not_begun_leaves_at_once():
    ended = Ended()
    GracefulShutdown(60.0, ended).ask()
    assert ended.codes[0] == 0


def test_a_worker_at_work_is_asked_and_woken():
    ended = Ended()
    departure = GracefulShutdown(60.0, ended)
    departure.begin(lambda: None)
    assert not departure.is_wanted
    departure.ask()
    assert departure.is_wanted
    assert departure.wake.is_set()
    departure.left()
    assert ended.codes == []


def test_a_step_that_outlasts_the_grace_is_left_behind_and_its_job_given_back():
    ended, given_back = Ended(), []
    departure = GracefulShutdown(0.01, ended)
    departure.begin(lambda: given_back.append(ended.was_reached.is_set()))
    departure.ask()
    assert ended.was_reached.wait(10)
    assert given_back == [False]


def test_a_job_that_cannot_be_given_back_keeps_nobody():
    def fail():
        raise OSError("no desk")

    ended = Ended()
    departure = GracefulShutdown(0.01, ended)
    departure.begin(fail)
    threading.excepthook, before = lambda arguments: None, threading.excepthook
    try:
        departure.ask()
        assert ended.was_reached.wait(10)
    finally:
        threading.excepthook = before


def test_asked_twice_it_leaves_once():
    ended, asked = Ended(), []
    departure = GracefulShutdown(0.01, ended)
    departure.begin(lambda: asked.append(1))
    departure.ask()
    departure.ask()
    assert ended.was_reached.wait(10)
    assert len(asked) == 1


def test_a_desk_that_does_not_answer_at_last_keeps_nobody(monkeypatch):
    monkeypatch.setattr(departure_module, "LAST_WORDS_S", 0.01)
    ended, answers = Ended(), threading.Event()
    departure = GracefulShutdown(0.01, ended)
    departure.begin(lambda: answers.wait(60))
    departure.ask()
    assert ended.was_reached.wait(10)
    answers.set()


BUSY = """
import hashlib, sys
from reelgrid.workers.shutdown import Departure
departure = Departure(0.05)
departure.on_signals()
departure.begin(lambda: print("given back", flush=True))
print("busy", flush=True)
hashlib.pbkdf2_hmac("sha256", b"a", b"b", 10**9)  # minutes, without returning to Python
"""


def test_a_call_that_does_not_return_to_python_keeps_nobody_from_leaving():
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True) as busy:
        assert busy.stdout is not None
        assert busy.stdout.readline() == "busy\n"
        busy.send_signal(signal.SIGTERM)
        try:
            assert busy.wait(20) == 0
        finally:
            busy.kill()
        assert busy.stdout.read() == "given back\n"
