import io

import pytest

from reelgrid.cli import progress as progress_module
from reelgrid.cli.local_run import show_progress
from reelgrid.cli.output import duration, rate
from reelgrid.cli.progress import progress_shown
from reelgrid.engine.generation import Progress

HALF_WAY = Progress(stage="denoise", step=5, num_steps=10, step_s=0.25, eta_s=1.25, elapsed_s=1.5)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def use_terminal(monkeypatch):
    """Make stderr a terminal; not in a fixture, whose change pytest's capturing would undo."""
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    return terminal


@pytest.fixture
def clock(monkeypatch):
    """A clock that shows the same time until it is set."""

    class Clock:
        now_s = 0.0

        def monotonic(self):
            return self.now_s

    clock = Clock()
    monkeypatch.setattr(progress_module, "time", clock)
    return clock


def test_a_terminal_gets_a_bar_with_step_pace_and_time_left(monkeypatch):
    terminal = use_terminal(monkeypatch)
    with progress_shown(lines_every_s=1) as show:
        show_progress(show, HALF_WAY)
    shown = terminal.getvalue()
    for part in ("denoise", "5/10", "0.25 s per step, 1.2 s left"):
        assert part in shown


def test_a_terminal_shows_a_share_as_percent_and_a_description_as_it_is(monkeypatch):
    terminal = use_terminal(monkeypatch)
    with progress_shown("simulating") as show:
        show("solving: [a/b]", 0.25, 1.0)
    assert "solving: [a/b]" in terminal.getvalue()
    assert "25%" in terminal.getvalue()


def test_a_pipe_gets_a_line_and_not_one_for_every_step(capsys):
    with progress_shown(lines_every_s=60) as show:
        for _ in range(100):
            show_progress(show, HALF_WAY)
    assert capsys.readouterr().err == "denoise 5/10, 0.25 s per step, 1.2 s left\n"


def test_a_pipe_gets_a_line_when_time_has_passed_and_at_the_end(capsys, clock):
    with progress_shown("simulating", lines_every_s=10) as show:
        for clock.now_s, share in ((1, 0.1), (10, 0.4), (19, 0.8), (20, 0.9), (21, 1.0)):
            show("simulating", share, 1.0)
    assert capsys.readouterr().err.splitlines() == [
        "simulating 40%",
        "simulating 90%",
        "simulating 100%",
    ]


def test_a_quick_computation_writes_nothing_to_a_pipe(capsys, clock):
    with progress_shown("simulating", lines_every_s=10) as show:
        for share in (0.0, 0.5, 1.0):
            show("simulating", share, 1.0)
    with progress_shown() as show:
        clock.now_s = 1e6
        show("solving: a", 1, 1)
    assert capsys.readouterr().err == ""


def test_each_stage_of_a_generation_is_a_line(capsys):
    encoded = Progress(stage="encode", step=0, num_steps=10, step_s=None, eta_s=None, elapsed_s=0.5)
    with progress_shown(lines_every_s=60) as show:
        show_progress(show, encoded)
        show_progress(show, HALF_WAY)
    assert capsys.readouterr().err.splitlines()[0] == "encode done after 0.50 s"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.0, "59.0 s"), (61, "1 min 1 s"), (7260, "2 h 1 min")]
)
def test_a_time_span_is_written_in_the_unit_that_suits_it(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(0.1234, "0.123"), (12.34, "12.3"), (1234, "1,234")])
def test_a_rate_has_about_three_digits(value, text):
    assert rate(value) == text
