"""Field types of scenario files with their ranges, and rules that several tables share.

hours: Annotated[float, Field(gt=0)]     a number
pue: AtLeastOne                          a quantity: a number, or a distribution as a table
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, TypeAlias

from pydantic import BeforeValidator, Discriminator, Tag
from pydantic_core import CoreSchema, core_schema

from reelgrid.plan.uncertainty import Exact, LogNormal, Quantity, Triangular
from reelgrid.user_files.checking import VALUE_ALONE, FieldError, Range

MAX_PARTS = 50
"""Most entries of one array of tables: an answer with more cannot be read."""

_SUM_TOLERANCE = 1e-6


class QuantityRange(Range):
    """Range of all values that a quantity can take; for plain numbers there is `pydantic.Field`."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: Callable[[Any], CoreSchema]
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, quantity: Quantity) -> Quantity:
        low, high = quantity.low, quantity.high
        if isinstance(quantity, LogNormal) and low == 0 == self.gt:
            low = math.nextafter(0, 1)  # a log-normal comes as near to 0 as it likes, never there
        if (
            (self.gt is not None and low <= self.gt)
            or (self.ge is not None and low < self.ge)
            or (self.le is not None and high > self.le)
        ):
            noun = "a number" if isinstance(quantity, Exact) else "all of the distribution"
            raise FieldError(f"expected {noun} {self}, got {_ends_in_words(quantity)}")
        return quantity


def _ends_in_words(quantity: Quantity) -> str:
    if isinstance(quantity, LogNormal):
        return f"a log-normal from {quantity.low:g} to {quantity.high:g}: give at_least and at_most"
    if isinstance(quantity, Triangular):
        return f"low {quantity.low:g}, high {quantity.high:g}"
    return f"{quantity.value:g}"


def _form(value: object) -> str:
    if not isinstance(value, dict):
        return VALUE_ALONE
    return "<log-normal>" if {"median", "sigma"} & value.keys() else "<triangular>"


AnyQuantity: TypeAlias = Annotated[
    Annotated[Exact, BeforeValidator(lambda number: {"value": number}), Tag(VALUE_ALONE)]
    | Annotated[Triangular, Tag("<triangular>")]
    | Annotated[LogNormal, Tag("<log-normal>")],
    Discriminator(_form),
]
"""A number, `{low, likely, high}` or `{median, sigma}`."""

Positive: TypeAlias = Annotated[AnyQuantity, QuantityRange(gt=0)]
NotNegative: TypeAlias = Annotated[AnyQuantity, QuantityRange(ge=0)]
AtLeastOne: TypeAlias = Annotated[AnyQuantity, QuantityRange(ge=1)]
PositiveShare: TypeAlias = Annotated[AnyQuantity, QuantityRange(gt=0, le=1)]
StepCount: TypeAlias = Annotated[AnyQuantity, QuantityRange(ge=1, le=1000)]
Growing: TypeAlias = Annotated[AnyQuantity, QuantityRange(gt=-1, le=10)]


def check_name(name: str) -> None:
    """Refuse a name that is empty or longer than 200 characters.

    Raises:
        FieldError: It is one of these.
    """
    if not name.strip() or len(name) > 200:
        raise FieldError("expected a name of 1 to 200 characters", param="name")


def check_sum(key: str, shares: Sequence[Quantity]) -> None:
    """Refuse an empty or a long list of shares, and those that do not add up to 1.

    Raises:
        FieldError: It is one of these.
    """
    if not 1 <= len(shares) <= MAX_PARTS:
        raise FieldError(f"expected 1 to {MAX_PARTS} [[{key}]], got {len(shares)}", param=key)
    total = math.fsum(share.likely for share in shares)
    if abs(total - 1) > _SUM_TOLERANCE:
        raise FieldError(f"expected shares that add up to 1, got {total:g}", param=key)


def check_distinct(key: str, names: Iterable[str]) -> None:
    """Refuse names of which two differ in case at most.

    Raises:
        FieldError: Two do.
    """
    seen = set[str]()
    for name in names:
        if name.strip().lower() in seen:
            raise FieldError(f"expected different names, got {name.strip()!r} twice", param=key)
        seen.add(name.strip().lower())


def check_one_of(value: object, keys: tuple[str, ...]) -> None:
    """Refuse a value unless exactly one of these fields is given.

    Raises:
        FieldError: None or several are given.
    """
    given = [key for key in keys if getattr(value, key) is not None]
    if len(given) != 1:
        got = " and ".join(given) or "none"
        raise FieldError(
            f"expected one of {', '.join(keys)}, got {got}", param=given[-1] if given else None
        )
