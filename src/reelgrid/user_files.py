"""Strict reader of files that users write: TOML, JSON and CSV become typed values.

All kinds of files follow the same rules: UTF-8 text of at most 1 MB, with or without a byte order
mark; no key or column twice; no unknown key; finite numbers; text without control
characters. Every mistake is one line that names the file, the line, the key and what is expected.
Types and ranges are checked by pydantic: a dataclass whose annotations carry
`pydantic.Field(gt=..., ge=..., le=...)` describes a table.
"""

import csv
import dataclasses
import difflib
import functools
import io
import itertools
import json
import math
import operator
import re
import tomllib
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from reelgrid.errors import RequestError
from reelgrid.toml_lines import KeyPath, key_lines

T = TypeVar("T")

MAX_BYTES = 1_000_000

VALUE_ALONE = "<value>"
"""Tag of the member of a union that is written as its value alone, not as a table; the tags of the
other members are in angle brackets too."""

_MAX_INTEGER = 2**63
_POSITION = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)$")


class FieldError(RequestError, ValueError):
    """A value breaks a rule of its dataclass; `param` is the field.

    Raised by `__post_init__`. As a `ValueError` it is collected by pydantic, so that `parse` can
    add the place in the file.
    """


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


@dataclass(frozen=True, slots=True)
class Range:
    """A range of numbers; `str` gives it in words, such as `above 0 and up to 1`.

    Attributes:
        gt: Numbers are above this.
        ge: Numbers are at least this.
        le: Numbers are at most this.
    """

    gt: float | None = None
    ge: float | None = None
    le: float | None = None

    def __str__(self) -> str:
        high = "" if self.le is None else f"to {self.le:g}"
        if self.gt is not None:
            return f"above {self.gt:g}" + (f" and up {high}" if high else "")
        if self.ge is None:
            return f"of at most {self.le:g}"
        return f"from {self.ge:g} {high}" if high else f"of at least {self.ge:g}"


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


def parse(kind: type[T], value: object, location: Location) -> T:
    """Return the dataclass that a table of TOML or JSON describes.

    A field's name is its key; a field without a default is required; other keys are refused.

    Args:
        kind: The dataclass; a field whose metadata has `is_key` false is no key of the table.
        value: The table, as `read_toml` and `read_json` return it.
        location: Where it stands.

    Raises:
        RequestError: A key is unknown or missing, or a value has a wrong type or range.
    """
    for key in value if isinstance(value, dict) else ():
        if key not in _keys(kind):
            raise (location / key).error(unknown_word(key, _keys(kind), "key"))
    try:
        return _adapter(kind).validate_json(json.dumps(value), strict=True, extra="forbid")
    except ValidationError as error:
        _refuse(kind, location, error)


def parse_cells(kind: type[T], cells: Mapping[str, str], location: Location) -> T:
    """Return the dataclass that the cells of a row of CSV describe; see `parse`.

    Raises:
        RequestError: A cell is missing, or has a wrong type or range.
    """
    try:
        return _adapter(kind).validate_strings(dict(cells), extra="forbid")
    except ValidationError as error:
        _refuse(kind, location, error)


def replace_checked(value: T, **changes: object) -> T:
    """Return a dataclass with other values in some fields, checked like those of a file.

    Raises:
        FieldError: A value has a wrong type or range, or breaks a rule of the dataclass.
    """
    for name, new in changes.items():
        hint = _keys(type(value))[name]
        try:
            TypeAdapter(hint).validate_python(new, strict=True)
        except ValidationError:
            raise FieldError(f"expected {_expected(hint)}, got {_shown(new)}", param=name) from None
    return dataclasses.replace(value, **changes)  # type: ignore[type-var]


def find_at(
    location: Location, find: Callable[[str, Mapping[str, T]], T], name: str, among: Mapping[str, T]
) -> T:
    """Return `find(name, among)`; where nothing is found, the error names the location."""
    try:
        return find(name, among)
    except RequestError as error:
        raise location.error(str(error)) from None


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


_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(kind: type[T]) -> TypeAdapter[T]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def _refuse(kind: type[Any], location: Location, errors: ValidationError) -> NoReturn:
    """Raise the first of pydantic's errors as one line; unknown keys come before all others."""
    found = errors.errors(include_url=False)
    error = next((one for one in found if one["type"] == "unexpected_keyword_argument"), found[0])
    path = list(itertools.takewhile(lambda part: part != VALUE_ALONE, error["loc"]))
    path = [part for part in path if not str(part).startswith("<")]
    if error["type"] == "missing":
        missing, path = path[-1], path[:-1]
        message = f"expected the key {missing!r} ({_expected(_hint_at(kind, [*path, missing]))})"
    elif error["type"] == "unexpected_keyword_argument":
        message = unknown_word(str(path[-1]), _keys(_hint_at(kind, path[:-1])), "key")
    elif error["type"] == "value_error":
        cause = error["ctx"]["error"]
        message, field = str(cause), getattr(cause, "param", None)
        path += [field] if field in _keys(_hint_at(kind, path)) else []
    else:
        message = f"expected {_expected(_hint_at(kind, path))}, got {_shown(error['input'])}"
    raise functools.reduce(operator.truediv, path, location).error(message) from None


def _hint_at(hint: Any, path: Iterable[str | int]) -> Any:
    """Return the annotation of what stands at a path below a value of the type `hint`."""
    for step in path:
        plain = _without_range(hint)
        if dataclasses.is_dataclass(plain) or get_origin(plain) in {Union, types.UnionType}:
            hint = _keys(plain)[str(step)]
        else:
            hint = get_args(plain)[1 if get_origin(plain) is dict else 0]
    return hint


def _keys(hint: Any) -> dict[str, Any]:
    """Return the keys of a table and the annotations of their values; empty if it is no table.

    Of a union those of all its tables; a dataclass of one field is written as its value alone.
    """
    plain = _without_range(hint)
    if get_origin(plain) in {Union, types.UnionType}:
        members = [_keys(member) for member in get_args(plain)]
        return {key: of for keys in members if len(keys) > 1 for key, of in keys.items()}
    if not dataclasses.is_dataclass(plain):
        return {}
    hints = get_type_hints(plain, include_extras=True)
    keys = (field for field in dataclasses.fields(plain) if field.metadata.get("is_key", True))
    return {field.name: hints[field.name] for field in keys}


def _without_range(hint: Any) -> Any:
    """Return an annotation without `Annotated` and without `| None`."""
    if hasattr(hint, "__metadata__"):
        return _without_range(hint.__origin__)
    if get_origin(hint) in {Union, types.UnionType}:
        rest = tuple(part for part in get_args(hint) if part is not type(None))
        return _without_range(rest[0]) if len(rest) == 1 else hint
    return hint


def _range_of(hint: Any) -> Range | None:
    """Return the range in an annotation, a `Range` or a `pydantic.Field`; `None` without one."""
    for extra in getattr(hint, "__metadata__", ()):
        if isinstance(extra, Range):
            return extra
        if isinstance(extra, FieldInfo):
            ends = ("gt", "ge", "le")
            rules = [(one, end) for one in extra.metadata for end in ends if hasattr(one, end)]
            return Range(**{end: getattr(rule, end) for rule, end in rules})
    return next(filter(None, map(_range_of, get_args(hint))), None)


_NOUNS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def _expected(hint: Any) -> str:
    """Return in words what an annotation accepts."""
    plain, range_ = _without_range(hint), _range_of(hint)
    if get_origin(plain) is tuple:
        return f"an array, each {_expected(get_args(plain)[0])}"
    if get_origin(plain) is Literal:
        return f"one of {', '.join(map(str, get_args(plain)))}"
    is_number = get_origin(plain) in {Union, types.UnionType}  # a quantity, exact or uncertain
    noun = "a number" if is_number else _NOUNS.get(plain, "a table")
    return f"{noun} {range_}" if range_ else noun


def _shown(value: object) -> str:
    kinds = {dict: "a table", list: "an array", bool: str(value).lower()}
    return kinds.get(type(value)) or repr(value)[:60]


def _quoted(part: str) -> str:
    return part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else repr(part[:40])
