"""Check plain values from a user's file against a dataclass, and name what is wrong in one line.

pydantic checks types and ranges: a dataclass whose annotations carry
`pydantic.Field(gt=..., ge=..., le=...)` describes a table; an unknown key is refused with the most
similar known one.
"""

import dataclasses
import functools
import itertools
import json
import operator
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from reelgrid.errors import RequestError
from reelgrid.user_files.reading import Location, unknown_word

T = TypeVar("T")

VALUE_ALONE = "<value>"
"""Tag of the member of a union that is written as its value alone, not as a table; the tags of the
other members are in angle brackets too."""


class FieldError(RequestError, ValueError):
    """A value breaks a rule of its dataclass; `param` is the field.

    Raised by `__post_init__`. As a `ValueError` it is collected by pydantic, so that `parse` can
    add the place in the file.
    """


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
