"""Rules that several parts of a scenario share; each names the field that breaks it.

Not here: ranges of single fields (`bounds`).
"""

import math
from collections.abc import Iterable, Sequence
from typing import Protocol

from reelgrid.errors import RequestError
from reelgrid.plan.quantity import Quantity

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
