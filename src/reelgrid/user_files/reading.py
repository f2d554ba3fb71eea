"""Read TOML, JSON and CSV files strictly into plain values that know their place in the file.

All kinds of files follow the same rules: UTF-8 text of at most 1 MB, with or without a byte order
mark; no key or column twice; finite numbers; text without control characters. Every mistake is one
line that names the file, the line, the key and what is expected.
"""

import csv
import difflib
import io
import json
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Any

from reelgrid.errors import RequestError
from reelgrid.toml_lines import KeyPath, key_lines

MAX_BYTES = 1_000_000

_MAX_INTEGER = 2**63
_POSITION = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)$")


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a file, for messages: `location / "hardware" / 0 / "gpu"`.

    Attributes:
        file: Name of the file.
        lines: Line of each key, from 1.
        path: Keys from the root of the file, with a number for each element of an array.
    """

    file: str
    lines: Mapping[KeyPath, int]
    path: KeyPath = ()

    def __truediv__(self, key: str | int) -> "Location":
        return Location(self.file, self.lines, (*self.path, key))

    @property
    def line(self) -> int:
        """The line of the key, or of the nearest table around it."""
        path = self.path
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path, 1)

    @property
    def key(self) -> str:
        """The key as people write it: `platforms[1].clips[0].size`."""
        words = (
            f"[{part}]" if isinstance(part, int) else f".{_quoted(part)}" for part in self.path
        )
        return "".join(words).removeprefix(".")

    def error(self, message: str) -> RequestError:
        """Return an error that names file, line and key."""
        key = f"{self.key}: " if self.path else ""
        return RequestError(f"{self.file}:{self.line}: {key}{message}", param=self.key or None)


def read_text(path: Path) -> str:
    """Return the text of a file, without a byte order mark, lines ended as on Unix.

    Raises:
        RequestError: There is no such file, it is too large, or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(content) > MAX_BYTES:
        raise RequestError(f"{path}: expected a file of at most {MAX_BYTES:,} bytes, got more")
    try:
        return content.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RequestError(f"{path}:{line}: expected text in UTF-8, got other bytes") from None


def read_toml(path: Path) -> tuple[dict[str, Any], Location]:
    """Return the tables of a TOML file, and the location of its root.

    Raises:
        RequestError: The file cannot be read, or is not valid TOML.
    """
    return parse_toml(read_text(path), str(path))


def parse_toml(text: str, file: str) -> tuple[dict[str, Any], Location]:
    """Return the tables of a TOML text, and the location of its root.

    Args:
        text: The text.
        file: Its name in messages.

    Raises:
        RequestError: It is not valid TOML.
    """
    try:
        tables = tomllib.loads(text)
        root = Location(file, key_lines(text))
    except RecursionError:
        raise RequestError(f"{file}:1: expected plain tables, got arrays nested too deep") from None
    except ValueError as error:
        raise RequestError(_syntax_words(file, text, str(error))) from None
    return _plain_values(tables, root), root


def read_json(path: Path) -> tuple[Any, Location]:
    """Return what a JSON file holds, and the location of its root.

    Raises:
        RequestError: The file cannot be read, is not valid JSON, or an object has a key twice.
    """
    return parse_json(read_text(path), str(path))


def parse_json(text: str, file: str) -> tuple[Any, Location]:
    """Return what a JSON text holds, and the location of its root; see `read_json`.

    Raises:
        RequestError: It is not valid JSON, or an object has a key twice.
    """
    root = Location(file, {})
    try:
        values = json.loads(text, object_pairs_hook=_distinct_keys)
    except RecursionError:
        raise root.error("expected plain objects, got arrays nested too deep") from None
    except json.JSONDecodeError as error:
        raise RequestError(f"{file}:{error.lineno}: expected valid JSON: {error.msg}") from None
    except ValueError as error:
        raise root.error(str(error)) from None
    return _plain_values(values, root), root


def read_csv(path: Path, columns: Sequence[str]) -> Iterator[tuple[dict[str, str], Location]]:
    """Yield the rows of a CSV file: its cells that are not empty, by column, and its location.

    Args:
        path: The file; its first line has the columns, in any order, not all have to be there.
        columns: The columns that it may have.

    Raises:
        RequestError: The file cannot be read or is not valid CSV, a column is unknown or comes
            twice, or a row has more or fewer cells than there are columns.
    """
    yield from parse_csv(read_text(path), str(path), columns)


def parse_csv(
    text: str, file: str, columns: Sequence[str] | None = None
) -> Iterator[tuple[dict[str, str], Location]]:
    """Yield the rows of a CSV text; see `read_csv`. Without `columns` every column is known.

    Raises:
        RequestError: It is not such a text.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    try:
        for cells in reader:
            location = Location(file, {(): reader.line_num})
            if not header:
                header = _header(cells, location, columns)
            elif any(cell.strip() for cell in cells):
                yield _row(header, cells, location), location
    except csv.Error as error:
        raise RequestError(f"{file}:{reader.line_num}: expected valid CSV: {error}") from None


def _header(cells: Sequence[str], location: Location, columns: Sequence[str] | None) -> list[str]:
    names = [cell.strip() for cell in cells]
    for name in names:
        if columns is not None and name not in columns:
            raise location.error(unknown_word(name, columns, "column"))
        if names.count(name) > 1:
            raise location.error(f"the column {name!r} comes twice")
    return names


def _row(header: Sequence[str], cells: Sequence[str], location: Location) -> dict[str, str]:
    if len(cells) != len(header):
        raise location.error(
            f"expected {len(header)} cells, as the first line has, got {len(cells)}"
        )
    filled = {name: cell.strip() for name, cell in zip(header, cells, strict=True) if cell.strip()}
    return {name: _plain_values(cell, location / name) for name, cell in filled.items()}


def unknown_word(word: str, known: Iterable[str], what: str) -> str:
    """Return the message that a word is unknown, with the most similar known one, or all."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(names)}"
    return f"unknown {what} {word!r}: {hint}"


def _plain_values(value: Any, location: Location) -> Any:
    """Return a parsed value with every number finite and every text free of control characters.

    Raises:
        RequestError: One is not, or is a date that is not quoted.
    """
    if isinstance(value, dict):
        return {key: _plain_values(part, location / key) for key, part in value.items()}
    if isinstance(value, list):
        return [_plain_values(part, location / index) for index, part in enumerate(value)]
    if isinstance(value, date | time):
        raise location.error(f'expected a number, text or table, got a date: write "{value}"')
    if isinstance(value, str) and any(
        ord(letter) < 32 and letter not in "\n\t" for letter in value
    ):
        raise location.error(f"expected text without control characters, got {value[:60]!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise location.error(f"expected a finite number, got {value}")
    if isinstance(value, int) and abs(value) > _MAX_INTEGER:
        raise location.error("expected a whole number below 2**63, got a larger one; write 1e30")
    return value


def _distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} comes twice in one object")
    return table


def _syntax_words(file: str, text: str, message: str) -> str:
    """Return what `tomllib` said, with the line in front and the text of that line behind."""
    match = _POSITION.search(message)
    rows = text.split("\n")
    number = int(match[1]) if match and match[1] else len(rows)
    row = rows[min(number, len(rows)) - 1].strip()
    what = (message[: match.start()] if match else message).lower()
    what = what.replace("cannot overwrite a value", "the key comes twice")
    shown = f": {row[:60]!r}" if row else ""
    return f"{file}:{number}: expected valid TOML, got: {what}{shown}"


def _quoted(part: str) -> str:
    return part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else repr(part[:40])
