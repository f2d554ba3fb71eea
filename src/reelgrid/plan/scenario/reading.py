"""Tables of a TOML file become frozen dataclasses, strictly: one message for each mistake.

A field's name is its key, its annotation says what is expected, a field without a default has to be
there, and a key that is no field is refused with the nearest that is. A message has the file, the
line, the key and what was expected. Not here: which tables there are (`values`).
"""

import dataclasses
import difflib
import functools
import math
import re
import tomllib
import types
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from reelgrid.errors import RequestError
from reelgrid.plan.scenario.rules import Bounds, bounds_in
from reelgrid.plan.scenario.toml_lines import KeyPath, key_lines
from reelgrid.plan.uncertainty import Exact, LogNormal, Quantity, Triangular
from reelgrid.spec import Size

T = TypeVar("T")

MAX_BYTES = 1_000_000
_QUANTITY_FORMS = "{low, likely, high} or {median, sigma}"
_POSITION = re.compile(r"\s*\(at (?:line (\d+), column \d+|end of document)\)$")


@dataclass(frozen=True, slots=True)
class Location:
    """Where in a file we are, for messages."""

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
        """Return an error that says where."""
        key = f"{self.key}: " if self.path else ""
        return RequestError(f"{self.file}:{self.line}: {key}{message}", param=self.key or None)


def read_toml(path: Path) -> tuple[dict[str, Any], Location]:
    """Return the tables of a TOML file, and its root as a place.

    Raises:
        RequestError: There is no such file, it is too large, no text, or no valid TOML.
    """
    text = _read_text(path)
    try:
        tables = tomllib.loads(text)
        root = Location(str(path), key_lines(text))
    except RecursionError:
        raise RequestError(f"{path}:1: expected plain tables, got arrays nested too deep") from None
    except ValueError as error:
        raise RequestError(_syntax_words(path, text, str(error))) from None
    return tables, root


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror or error}") from None
    if len(content) > MAX_BYTES:
        raise RequestError(f"{path}: expected a file of at most {MAX_BYTES:,} bytes, got more")
    try:
        return content.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RequestError(f"{path}:{line}: expected text in UTF-8, got other bytes") from None


def _syntax_words(path: Path, text: str, message: str) -> str:
    """Return what `tomllib` said, with the line in front and the text of that line behind."""
    match = _POSITION.search(message)
    rows = text.split("\n")
    number = int(match[1]) if match and match[1] else len(rows)
    row = rows[min(number, len(rows)) - 1].strip()
    what = message[: match.start()] if match else message
    shown = f": {row[:60]!r}" if row else ""
    return f"{path}:{number}: expected valid TOML, got: {what.lower()}{shown}"


def read_table(kind: type[T], table: object, place: Location) -> T:
    """Return the dataclass `kind` that a table holds.

    Raises:
        RequestError: A key is unknown or missing, or a value is none of what its field takes.
    """
    if not isinstance(table, dict):
        raise place.error(f"expected a table, got {_shown(table)}")
    hints, fields = _hints(kind), _keys(kind)  # type: ignore[arg-type]  # classes are hashable
    for key in table:
        if key not in fields:
            raise (place / key).error(unknown(key, fields, "key"))
    for name, field in fields.items():
        if name not in table and _is_needed(field):
            raise place.error(f"expected the key {name!r} ({_expected(hints[name])})")
    values = {key: _read(hints[key], value, place / key) for key, value in table.items()}
    try:
        return kind(**values)
    except RequestError as error:
        where = place / error.param if error.param in fields else place
        raise where.error(str(error)) from None


def find_at(
    place: Location, find: Callable[[str, Mapping[str, T]], T], name: str, among: Mapping[str, T]
) -> T:
    """Return what `find` finds, or an error that says where the name stands."""
    try:
        return find(name, among)
    except RequestError as error:
        raise place.error(str(error)) from None


def unknown(word: str, known: Iterable[str], what: str) -> str:
    """Return that a word is not known, with the nearest that is, or with all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(names)}"
    return f"unknown {what} {word!r}: {hint}"


@functools.cache
def _hints(kind: Hashable) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


@functools.cache
def _keys(kind: Hashable) -> dict[str, "dataclasses.Field[Any]"]:
    """Return the fields that are keys of a file, by name."""
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]  # every kind is a dataclass
    return {field.name: field for field in fields if field.metadata.get("is_key", True)}


def _is_needed(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _read(hint: Any, value: object, place: Location) -> Any:
    """Return the value as the annotation has it."""
    plain = _plain(hint)
    if plain == Quantity:
        return _read_quantity(value, place, bounds_in(hint))
    if dataclasses.is_dataclass(plain) and plain is not Size:
        return read_table(plain, value, place)  # type: ignore[arg-type]  # it is a class
    origin = get_origin(plain)
    if origin is tuple:
        return _read_array(get_args(plain)[0], value, place)
    if origin is dict:
        return _read_mapping(get_args(plain)[1], value, place)
    if origin is Literal:
        return _read_choice(get_args(plain), value, place)
    return _SCALARS[plain](value, place, bounds_in(hint))


def _plain(hint: Any) -> Any:
    """Return an annotation without its bounds and without `| None`."""
    if hasattr(hint, "__metadata__"):
        return _plain(hint.__origin__)
    if get_origin(hint) in {Union, types.UnionType} and type(None) in get_args(hint):
        rest = tuple(part for part in get_args(hint) if part is not type(None))
        return _plain(Union[rest])  # noqa: UP007  # made of a tuple
    return hint


def _read_array(element: Any, value: object, place: Location) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise place.error(f"expected {_expected(tuple[element, ...])}, got {_shown(value)}")
    return tuple(_read(element, part, place / index) for index, part in enumerate(value))


def _read_mapping(element: Any, value: object, place: Location) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise place.error(f"expected a table, got {_shown(value)}")
    return {key: _read(element, part, place / key) for key, part in value.items()}


def _read_choice(choices: tuple[Any, ...], value: object, place: Location) -> object:
    if value not in choices:
        names = [str(choice) for choice in choices]
        if isinstance(value, str):
            raise place.error(unknown(value, names, "value"))
        raise place.error(f"expected one of {', '.join(names)}, got {_shown(value)}")
    return value


def _read_quantity(value: object, place: Location, bounds: Bounds | None) -> Quantity:
    if not isinstance(value, dict):
        what = f"{_number_words(bounds)}, {_QUANTITY_FORMS}"
        number = _read_float(value, place, bounds, what)
        try:
            return Exact(number)
        except RequestError as error:
            raise place.error(str(error)) from None
    for key in value:
        if key not in {"low", "likely", "high", "median", "sigma", "at_least", "at_most"}:
            raise (place / key).error(f"unknown key {key!r}: expected {_QUANTITY_FORMS}")
    if {"median", "sigma"} & value.keys():
        return read_table(LogNormal, value, place)
    return read_table(Triangular, value, place)


def _read_float(
    value: object, place: Location, bounds: Bounds | None = None, what: str | None = None
) -> float:
    expected = what or _number_words(bounds)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise place.error(f"expected {expected}, got {_shown(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise place.error(f"expected {expected}, got {number}: it has to be finite")
    return number


def _read_int(value: object, place: Location, bounds: Bounds | None) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        words = _number_words(bounds).replace("a number", "a whole number")
        raise place.error(f"expected {words}, got {_shown(value)}")
    if abs(value) > 2**63:
        raise place.error("expected a whole number below 2**63, got a larger one")
    return value


def _read_str(value: object, place: Location, _: Bounds | None) -> str:
    if not isinstance(value, str):
        raise place.error(f"expected text, got {_shown(value)}")
    if any(ord(letter) < 32 and letter not in "\n\t" for letter in value):
        raise place.error(f"expected text without control characters, got {value[:60]!r}")
    return value


def _read_bool(value: object, place: Location, _: Bounds | None) -> bool:
    if not isinstance(value, bool):
        raise place.error(f"expected true or false, got {_shown(value)}")
    return value


def _read_size(value: object, place: Location, _: Bounds | None) -> Size:
    text = _read_str(value, place, None) if isinstance(value, str) else None
    if text is None:
        raise place.error(f'expected WIDTHxHEIGHT as text, such as "832x480", got {_shown(value)}')
    try:
        return Size.parse(text)
    except RequestError as error:
        raise place.error(f"expected WIDTHxHEIGHT: {error}") from None


_SCALARS: dict[Any, Callable[[object, Location, Bounds | None], object]] = {
    float: _read_float,
    int: _read_int,
    str: _read_str,
    bool: _read_bool,
    Size: _read_size,
}
_WORDS = {str: "text", bool: "true or false", Size: 'WIDTHxHEIGHT, such as "832x480"'}


def _expected(hint: Any) -> str:
    plain = _plain(hint)
    if get_origin(plain) is tuple:
        return f"an array, each {_expected(get_args(plain)[0])}"
    if get_origin(plain) is Literal:
        return f"one of {', '.join(map(str, get_args(plain)))}"
    if plain is int:
        return _number_words(bounds_in(hint)).replace("a number", "a whole number")
    if plain is float or plain == Quantity:
        return _number_words(bounds_in(hint))
    return _WORDS.get(plain, "a table")


def _number_words(bounds: Bounds | None) -> str:
    return f"a number {bounds}" if bounds else "a number"


def _shown(value: object) -> str:
    kinds = {dict: "a table", list: "an array", bool: str(value).lower()}
    return kinds.get(type(value)) or repr(value)[:60]


def _quoted(part: str) -> str:
    return part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else repr(part[:40])
