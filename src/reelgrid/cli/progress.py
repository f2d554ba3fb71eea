"""Progress display on stderr: a live bar on a terminal; plain lines, or nothing, when piped."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from reelgrid.cli.output import say


class ShowProgress(Protocol):
    """Displays how far a computation has come."""

    def __call__(
        self, description: str, done: float = 0, total: float | None = None, note: str = ""
    ) -> None:
        """Display the current state.

        Args:
            description: What is being computed now.
            done: How much of `total` is finished.
            total: `None` if it is not known.
            note: Text to show instead of the percentage.
        """


@contextmanager
def progress_shown(
    description: str = "", *, lines_every_s: float | None = None
) -> Iterator[ShowProgress]:
    """Yield a function that displays progress while the block runs.

    Args:
        description: What is computed first.
        lines_every_s: Seconds between lines when stderr is not a terminal; a new description is
            written at once. `None` writes nothing.

    Yields:
        The function.
    """
    if sys.stderr.isatty():
        with _bar_shown(description) as show:
            yield show
    else:
        yield _Lines(description, lines_every_s).show


@contextmanager
def _bar_shown(description: str) -> Iterator[ShowProgress]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=None, note="")

        def show(
            description: str, done: float = 0, total: float | None = None, note: str = ""
        ) -> None:
            text = note or _percent(done, total)
            bar.update(task, description=description, completed=done, total=total, note=text)

        yield show


class _Lines:
    """Writes a line for each new description, for its end, and else at most every few seconds."""

    def __init__(self, description: str, every_s: float | None) -> None:
        self._description = description
        self._every_s = every_s
        self._last_s = time.monotonic()
        self._has_written = False

    def show(
        self, description: str, done: float = 0, total: float | None = None, note: str = ""
    ) -> None:
        if self._every_s is None:
            return
        now_s = time.monotonic()
        is_new = description != self._description
        is_last = self._has_written and done == total
        if is_new or is_last or now_s - self._last_s >= self._every_s:
            self._description, self._last_s, self._has_written = description, now_s, True
            say(f"{description} {note or _percent(done, total)}".rstrip())


def _percent(done: float, total: float | None) -> str:
    return f"{done / total:.0%}" if total else ""
