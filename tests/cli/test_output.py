import io

import pytest

from reelgrid.cli.output import duration, progress_shown, rate
from reelgrid.engine.generation import Progress

HALF_WAY = Progress(stage="denoise", step=5, num_steps=10, step_s=0.25, eta_s=1.25, elapsed_s=1.5)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_gets_a_bar_with_step_pace_and_time_left(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "120")
    with progress_shown() as listener:
        listener(HALF_WAY)
    shown = terminal.getvalue()
    for part in ("denoise", "5/10", "0.25 s a step, 1.2 s left"):
        assert part in shown


def test_a_pipe_gets_a_line_and_not_one_for_every_step(capsys):
    with progress_shown() as listener:
        for _ in range(100):
            listener(HALF_WAY)
    assert capsys.readouterr().err == "denoise 5/10, 0.25 s a step, 1.2 s left\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.0, "59.0 s"), (61, "1 min 1 s"), (7260, "2 h 1 min")]
)
def test_a_time_span_is_written_as_people_do(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(0.1234, "0.123"), (12.34, "12.3"), (1234, "1,234")])
def test_a_rate_has_about_three_digits(value, text):
    assert rate(value) == text
