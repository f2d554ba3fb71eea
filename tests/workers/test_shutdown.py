import signal
import subprocess
import sys
import threading

from reelgrid.workers import shutdown as shutdown_module
from reelgrid.workers.shutdown import GracefulShutdown


class Ended:
    """Replaces the end of the process, and keeps the exit codes."""

    def __init__(self):
        self.codes = []
        self.was_reached = threading.Event()

    def __call__(self, code):
        self.codes.append(code)
        self.was_reached.set()


def test_a_worker_that_has_not_begun_ends_at_once():
    ended = Ended()
    GracefulShutdown(60.0, ended).request()
    assert ended.codes[0] == 0


def test_a_worker_at_work_is_asked_and_woken():
    ended = Ended()
    shutdown = GracefulShutdown(60.0, ended)
    shutdown.arm(lambda: None)
    assert not shutdown.is_requested
    shutdown.request()
    assert shutdown.is_requested
    assert shutdown.wake.is_set()
    shutdown.finished()
    assert ended.codes == []


def test_a_step_longer_than_the_grace_period_is_abandoned_and_its_job_released():
    ended, released = Ended(), []
    shutdown = GracefulShutdown(0.01, ended)
    shutdown.arm(lambda: released.append(ended.was_reached.is_set()))
    shutdown.request()
    assert ended.was_reached.wait(60)
    assert released == [False]


def test_a_job_that_cannot_be_released_does_not_keep_the_process():
    def fail():
        raise OSError("no database")

    ended = Ended()
    shutdown = GracefulShutdown(0.01, ended)
    shutdown.arm(fail)
    threading.excepthook, before = lambda arguments: None, threading.excepthook
    try:
        shutdown.request()
        assert ended.was_reached.wait(60)
    finally:
        threading.excepthook = before


def test_asked_twice_it_ends_once():
    ended, asked = Ended(), []
    shutdown = GracefulShutdown(0.01, ended)
    shutdown.arm(lambda: asked.append(1))
    shutdown.request()
    shutdown.request()
    assert ended.was_reached.wait(60)
    assert len(asked) == 1


def test_a_queue_that_does_not_answer_does_not_keep_the_process(monkeypatch):
    monkeypatch.setattr(shutdown_module, "RELEASE_WITHIN_S", 0.01)
    ended, answers = Ended(), threading.Event()
    shutdown = GracefulShutdown(0.01, ended)
    shutdown.arm(lambda: answers.wait(60))
    shutdown.request()
    assert ended.was_reached.wait(60)
    answers.set()


BUSY = """
import hashlib, sys
from reelgrid.workers.shutdown import GracefulShutdown
shutdown = GracefulShutdown(0.05)
shutdown.listen_for_signals()
shutdown.arm(lambda: print("released", flush=True))
print("busy", flush=True)
hashlib.pbkdf2_hmac("sha256", b"a", b"b", 10**9)  # minutes, without returning to Python
"""


def test_a_call_that_does_not_return_to_python_does_not_keep_the_process():
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True) as busy:
        assert busy.stdout is not None
        assert busy.stdout.readline() == "busy\n"
        busy.send_signal(signal.SIGTERM)
        try:
            assert busy.wait(20) == 0
        finally:
            busy.kill()
        assert busy.stdout.read() == "released\n"
