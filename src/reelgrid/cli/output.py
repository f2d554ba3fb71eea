"""Tables on the terminal: drawn by Rich on a screen, plain aligned columns when piped.

Not here: what is in them (`plan.table`), and JSON.

What a person sees while a generation runs, and at its end.

Progress and notices go to stderr: a live bar on a terminal, plain lines elsewhere.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TextIO

from reelgrid.report.table import Table


def print_table(table: Table, file: TextIO | None = None) -> None:
    """Write the table to `file`, stdout by default."""
    target = file or sys.stdout
    if target.isatty():
        _print_drawn(table, target)
    else:
        target.write(plain_text(table))


def print_json(value: Any) -> None:
    """Write one JSON object on one line to stdout; numbers keep all their digits."""
    sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")


def plain_text(table: Table) -> str:
    """Return the table as columns two spaces apart, with no lines, colours or escapes."""
    rows = [list(table.headings), *table.text_rows()]
    widths = [max(len(row[index]) for row in rows) for index in range(len(table.columns))]
    lines = [_line(row, widths, table).rstrip() for row in rows]
    note = f"{table.note}\n" if table.note else ""
    return f"{table.title}\n" + "\n".join(lines) + f"\n{note}"


def _line(row: list[str], widths: list[int], table: Table) -> str:
    return "  ".join(
        cell.rjust(width) if table.is_number(index) else cell.ljust(width)
        for index, (cell, width) in enumerate(zip(row, widths, strict=True))
    )


def _print_drawn(table: Table, file: TextIO) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as Drawn
    from rich.text import Text

    drawn = Drawn(
        title=Text(table.title, style="bold"),
        title_justify="left",
        caption=Text(table.note) if table.note else None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for index, heading in enumerate(table.headings):
        drawn.add_column(
            Text(heading),
            justify="right" if table.is_number(index) else "left",
            overflow="fold",
        )
    rows = table.text_rows()
    for index, row in enumerate(rows):
        is_before_total = table.is_total_last and index == len(rows) - 2
        drawn.add_row(*(Text(cell) for cell in row), end_section=is_before_total)
    Console(file=file).print(drawn)


if TYPE_CHECKING:
    from reelgrid.engine.generation import Progress
    from reelgrid.local import RunReport

_LINE_EVERY_S = 1.0

Listener = Callable[["Progress"], None]


def say(message: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


@contextmanager
def progress_shown() -> "Iterator[Listener]":
    """Yield what is to be told of each step: it keeps a bar, or writes lines when piped.

    Yields:
        The listener.
    """
    shown = _bar_shown() if sys.stderr.isatty() else nullcontext(_Lines().show)
    with shown as listener:
        yield listener


@contextmanager
def _bar_shown() -> "Iterator[Listener]":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description:8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("encode", total=None, pace="")

        def show(progress: "Progress") -> None:
            bar.update(
                task,
                description=progress.stage,
                completed=progress.step,
                total=progress.num_steps,
                pace=pace(progress),
            )

        yield show


class _Lines:
    """A line for each stage, and for steps at most one a second."""

    def __init__(self) -> None:
        self._last_s = float("-inf")

    def show(self, progress: "Progress") -> None:
        is_last = progress.step == progress.num_steps
        now_s = time.monotonic()
        if progress.stage == "denoise" and not is_last and now_s - self._last_s < _LINE_EVERY_S:
            return
        self._last_s = now_s
        if progress.stage == "denoise":
            say(f"denoise {progress.step}/{progress.num_steps}, {pace(progress)}")
        else:
            say(f"{progress.stage} done after {progress.elapsed_s:.2f} s")


def pace(progress: "Progress") -> str:
    """Return seconds a step and the time left, in words."""
    if progress.step_s is None:
        return ""
    left = "" if progress.eta_s is None else f", {duration(progress.eta_s)} left"
    return f"{progress.step_s:.3g} s a step{left}"


def duration(seconds: float) -> str:
    """Return a time span as people write it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def rate(value: float) -> str:
    """Return a rate with about three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def report_lines(report: "RunReport") -> str:
    """Return the account of a finished file: where it is, what it took, at what rate."""
    request = report.request
    frames = (
        "1 frame"
        if request.is_image
        else f"{request.num_frames} frames at {request.fps:g} fps, {request.clip_s:.2f} s"
    )
    lines = [
        str(report.output),
        f"  {request.size}, {frames}, seed {request.seed}; {report.model} on {report.device}, "
        f"{report.dtype}",
        f"  load {duration(report.load_s)}, encode {report.encode_s:.2f} s, "
        f"denoise {duration(report.denoise_s)} ({request.num_steps} steps, {report.step_s:.3g} s "
        f"each), decode {report.decode_s:.2f} s, write {report.write_s:.2f} s",
        f"  peak memory {report.peak_memory_gib:.2f} GiB",
    ]
    if not request.is_image:
        lines[-1] += f"; {rate(report.minutes_per_gpu_hour)} minutes of video per GPU-hour"
        if report.device == "cpu":
            lines[-1] += " (on this CPU: per machine-hour)"
    return "\n".join(lines)
