import threading

from reelgrid.fleet.departure import Departure


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
    Departure(60.0, ended).ask()
    assert ended.codes[0] == 0


def test_a_worker_at_work_is_asked_and_woken():
    ended = Ended()
    departure = Departure(60.0, ended)
    departure.begin(lambda: None)
    assert not departure.is_wanted
    departure.ask()
    assert departure.is_wanted
    assert departure.wake.is_set()
    departure.left()
    assert ended.codes == []


def test_a_step_that_outlasts_the_grace_is_left_behind_and_its_job_given_back():
    ended, given_back = Ended(), []
    departure = Departure(0.01, ended)
    departure.begin(lambda: given_back.append(ended.was_reached.is_set()))
    departure.ask()
    assert ended.was_reached.wait(10)
    assert given_back == [False]


def test_a_job_that_cannot_be_given_back_keeps_nobody():
    def fail():
        raise OSError("no desk")

    ended = Ended()
    departure = Departure(0.01, ended)
    departure.begin(fail)
    threading.excepthook, before = lambda arguments: None, threading.excepthook
    try:
        departure.ask()
        assert ended.was_reached.wait(10)
    finally:
        threading.excepthook = before


def test_asked_twice_it_leaves_once():
    ended, asked = Ended(), []
    departure = Departure(0.01, ended)
    departure.begin(lambda: asked.append(1))
    departure.ask()
    departure.ask()
    assert ended.was_reached.wait(10)
    assert len(asked) == 1
