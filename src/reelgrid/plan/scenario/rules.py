"""Ranges of fields, written in their annotations and checked when a value is made.

    hours: Annotated[float, Bounds(above=0)]

Not here: types and positions in a file, which are `reading`'s.

Rules that several parts of a scenario share; each names the field that breaks it.

Not here: ranges of single fields (`rules`).
"""

import functools
import math
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, TypeAlias, get_args, get_origin, get_type_hints

from reelgrid.errors import RequestError
from reelgrid.plan.uncertainty import Exact, LogNormal, Quantity, Triangular


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The range of a number or of both ends of a quantity; `above` is an open end."""

    at_least: float = -math.inf
    above: float = -math.inf
    at_most: float = math.inf

    def __str__(self) -> str:
        low = f"from {self.at_least:g}" if self.at_least > -math.inf else ""
        low = f"above {self.above:g}" if self.above > -math.inf else low
        high = f"to {self.at_most:g}" if self.at_most < math.inf else ""
        if low.startswith("above") and high:
            return f"{low} and up {high}"
        return f"{low} {high}".strip().replace("from", "from" if high else "of at least")

    def hold(self, low: float, high: float) -> bool:
        """Whether all from `low` to `high` is in the range."""
        return self.at_least <= low and self.above < low and high <= self.at_most


Positive: TypeAlias = Annotated[Quantity, Bounds(above=0)]
NotNegative: TypeAlias = Annotated[Quantity, Bounds(at_least=0)]
AtLeastOne: TypeAlias = Annotated[Quantity, Bounds(at_least=1)]
Share: TypeAlias = Annotated[Quantity, Bounds(at_least=0, at_most=1)]
PositiveShare: TypeAlias = Annotated[Quantity, Bounds(above=0, at_most=1)]


def check_bounds(value: Any) -> None:
    """Check every field of a dataclass that has bounds: to be called by `__post_init__`.

    Raises:
        RequestError: A number is out of range; `param` is the field.
    """
    for name, bounds in _bounds_of(type(value)):  # type: ignore[arg-type]  # classes are hashable
        for number in _each(getattr(value, name)):
            low, high = _ends(number, bounds)
            if not bounds.hold(low, high):
                raise RequestError(
                    f"expected {_noun(number)} {bounds}, got {_words(number)}", param=name
                )


def bounds_in(hint: Any) -> Bounds | None:
    """Return the bounds in an annotation, or none."""
    if get_origin(hint) is Annotated:
        return next((extra for extra in get_args(hint) if isinstance(extra, Bounds)), None)
    found = (bounds_in(part) for part in get_args(hint) if part is not Ellipsis)
    return next((bounds for bounds in found if bounds is not None), None)


@functools.cache
def _bounds_of(kind: Hashable) -> tuple[tuple[str, Bounds], ...]:
    hints = get_type_hints(kind, include_extras=True)
    found = ((name, bounds_in(hint)) for name, hint in hints.items())
    return tuple((name, bounds) for name, bounds in found if bounds is not None)


def _each(value: object) -> Iterator[float | Quantity]:
    if isinstance(value, tuple):
        for part in value:
            yield from _each(part)
    elif isinstance(value, int | float | Exact | Triangular | LogNormal):
        yield value


def _ends(number: float | Quantity, bounds: Bounds) -> tuple[float, float]:
    if isinstance(number, int | float):
        return number, number
    low = number.low
    if isinstance(number, LogNormal) and low == 0 == bounds.above:
        low = math.nextafter(0, 1)  # a log-normal comes as near to 0 as it likes and never there
    return low, number.high


def _noun(number: float | Quantity) -> str:
    return "a number" if isinstance(number, int | float | Exact) else "all of the distribution"


def _words(number: float | Quantity) -> str:
    if isinstance(number, LogNormal):
        return f"a log-normal from {number.low:g} to {number.high:g}: give at_least and at_most"
    if isinstance(number, Triangular):
        return f"low {number.low:g}, high {number.high:g}"
    return f"{number:g}" if isinstance(number, int | float) else f"{number.value:g}"


MAX_PARTS = 50
"""Entries of one array of tables; more are better grouped, in the file and in the answer."""

_SUM_TOLERANCE = 1e-6


class HasShare(Protocol):
    """A part that takes a share of something."""

    @property
    def share(self) -> Quantity:
        """The share."""
        ...


def check_name(name: str) -> None:
    """Refuse a name that is empty or very long.

    Raises:
        RequestError: It is so.
    """
    if not name.strip() or len(name) > 200:
        raise RequestError("expected a name of 1 to 200 characters", param="name")


def check_sum(key: str, parts: Sequence[HasShare]) -> None:
    """Refuse no parts, too many, and shares that do not add up to 1.

    Raises:
        RequestError: It is so.
    """
    if not 1 <= len(parts) <= MAX_PARTS:
        raise RequestError(f"expected 1 to {MAX_PARTS} [[{key}]], got {len(parts)}", param=key)
    total = math.fsum(part.share.likely for part in parts)
    if abs(total - 1) > _SUM_TOLERANCE:
        raise RequestError(f"expected shares that add up to 1, got {total:g}", param=key)


def check_unlike(key: str, names: Iterable[str]) -> None:
    """Refuse names of which two are the same, upper or lower case.

    Raises:
        RequestError: It is so.
    """
    seen = set[str]()
    for name in names:
        if name.strip().lower() in seen:
            raise RequestError(f"expected different names, got {name.strip()!r} twice", param=key)
        seen.add(name.strip().lower())


def check_one_of(value: object, keys: tuple[str, ...]) -> None:
    """Refuse a value that has none of these fields, or several.

    Raises:
        RequestError: It is so.
    """
    given = [key for key in keys if getattr(value, key) is not None]
    if len(given) != 1:
        got = " and ".join(given) or "none"
        raise RequestError(
            f"expected one of {', '.join(keys)}, got {got}", param=given[-1] if given else None
        )
