"""Tables on the terminal: drawn by Rich on a screen, plain aligned columns when piped.

Not here: what is in them (`plan.table`), and JSON.
"""

import json
import sys
from typing import Any, TextIO

from reelgrid.plan.table import Table


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
