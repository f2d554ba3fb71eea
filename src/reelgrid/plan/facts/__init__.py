"""Dated facts with their sources, as files; a user's own files of the same form override rows.

Not here: what a row means (`hardware`, `architectures`, `observations`), and any constant of a fit.
"""

import csv
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path

from reelgrid.errors import RequestError

Row = dict[str, str]


def read_text(name: str) -> str:
    """Return a file of the package, such as `gpus.csv`."""
    return resources.files("reelgrid.plan.facts").joinpath(name).read_text(encoding="utf-8")


def user_files(data: Path, name: str) -> tuple[Path, ...]:
    """Return the user's own file of a name, in the folder `facts` of the user's data, if any."""
    path = data / "facts" / name
    return (path,) if path.is_file() else ()


def read_table(name: str, extra: Sequence[Path] = ()) -> dict[str, Row]:
    """Return the rows of a CSV file of the package by `name`, overridden by the user's files.

    A row of a known name changes the cells that it fills and keeps the others; any other is new.
    Whatever a user's file changes is his: where it names no source, the file is the source.

    Args:
        name: A file of the package whose first column is `name`.
        extra: The user's files; a later one overrides an earlier one.

    Raises:
        RequestError: A file cannot be read, or has a column that is unknown.
    """
    shipped = _parse(read_text(name).splitlines(), name)
    columns = list(next(iter(shipped)))
    table = {row["name"]: row for row in shipped}
    for path in extra:
        for row in _parse(read_user_text(path).splitlines(), str(path), columns):
            filled = {"source": str(path)} | {key: cell for key, cell in row.items() if cell}
            empty = dict.fromkeys(columns, "")
            table[row["name"]] = table.get(row["name"], empty) | filled
    return table


def read_user_text(path: Path) -> str:
    """Return the text of a user's file.

    Raises:
        RequestError: It is not there or no UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{path} cannot be read: {error}") from None


def number(row: Row, column: str, where: str) -> float | None:
    """Return a cell as a positive number, or none where it is empty.

    Raises:
        RequestError: The cell holds something else.
    """
    text = row[column]
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise RequestError(f"{where}: {column} is {text!r}, expected a number above 0")
    return value


def needed(row: Row, column: str, where: str) -> float:
    """Return a cell as a positive number.

    Raises:
        RequestError: The cell is empty or holds something else.
    """
    value = number(row, column, where)
    if value is None:
        raise RequestError(f"{where}: {column} is empty, expected a number above 0")
    return value


def _parse(lines: Iterable[str], where: str, columns: Sequence[str] | None = None) -> list[Row]:
    """Return the rows of a CSV file, whose columns are all among `columns`.

    Raises:
        RequestError: A column is unknown, `name` is missing, or a line has too many cells.
    """
    reader = csv.DictReader(lines, strict=True)
    header = reader.fieldnames or []
    for column in header if columns else ():
        if column not in (columns or ()):
            raise RequestError(
                f"{where}: unknown column {column!r}, expected {', '.join(columns or ())}"
            )
    if "name" not in header:
        raise RequestError(f"{where}: the column 'name' is missing")
    return [_checked(row, where, reader.line_num) for row in reader]


def _checked(row: dict[str | None, str | list[str] | None], where: str, line: int) -> Row:
    """Return a row with as many cells as the header has.

    Raises:
        RequestError: It has more or fewer, or no name.
    """
    if None in row or None in row.values():
        raise RequestError(f"{where}, line {line}: not as many cells as the first line has")
    cells = {str(key): str(cell).strip() for key, cell in row.items()}
    if not cells["name"]:
        raise RequestError(f"{where}, line {line}: the name is empty")
    return cells
