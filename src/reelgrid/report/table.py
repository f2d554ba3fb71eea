"""A table of results as a value, and how numbers are written for people: `9.63 million`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real

Cell = str | int | float | bool | tuple[float, float] | None
"""Text, a number, a `(low, high)` interval, or nothing known."""

UNKNOWN = "\N{EN DASH}"

_SCALES = ((1e12, " trillion"), (1e9, " billion"), (1e6, " million"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a table.

    Attributes:
        title: Its heading, without the unit.
        unit: Unit of its numbers, such as `$/h`.
        digits: Significant digits of its numbers; whole numbers show all of theirs.
    """

    title: str
    unit: str = ""
    digits: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.digits <= 15:
            raise ValueError(f"digits {self.digits} is out of range: 1 to 15")

    @property
    def heading(self) -> str:
        """The title, and the unit in brackets where there is one."""
        return f"{self.title} [{self.unit}]" if self.unit else self.title


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under columns.

    Attributes:
        title: What the table shows.
        columns: A `Column`, or text for one without a unit.
        rows: One cell a column each.
        note: What a reader has to know about it: sources, dates, what was left out.
        is_total_last: Whether the last row is the sum of the others.
    """

    title: str
    columns: Sequence[Column | str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    is_total_last: bool = False

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row of {len(row)} cells under {len(self.columns)} columns")

    @property
    def headings(self) -> tuple[str, ...]:
        """The headings, units included."""
        return tuple(column.heading for column in self._columns)

    @property
    def _columns(self) -> tuple[Column, ...]:
        return tuple(
            Column(title=column) if isinstance(column, str) else column for column in self.columns
        )

    def text_rows(self) -> list[list[str]]:
        """Return the cells as people read them."""
        return [
            [show(cell, column.digits) for cell, column in zip(row, self._columns, strict=True)]
            for row in self.rows
        ]

    def is_number(self, index: int) -> bool:
        """Whether the column at `index` holds numbers, which are set flush right."""
        return any(
            isinstance(row[index], (Real, tuple)) and not isinstance(row[index], bool)
            for row in self.rows
        )


def show(value: Cell, digits: int = 3) -> str:
    """Return a cell as people read it: `1,234`, `0.0512`, `6.2 to 10.4`, `yes`."""
    if value is None:
        return UNKNOWN
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return f"{show(value[0], digits)} to {show(value[1], digits)}"
    return number(value, digits)


def number(value: float, digits: int = 3) -> str:
    """Return a number with thousands separated and `digits` significant digits.

    Whole numbers keep all digits, and so does the whole part of others: 12,345.6 is `12,346`.
    Below a ten-thousandth and above 10**15 it is written as a power of ten.
    """
    if isinstance(value, Integral):
        return f"{value:,}"
    if not math.isfinite(value):
        return UNKNOWN if math.isnan(value) else f"{'-' if value < 0 else ''}∞"
    if value == 0:
        return "0"
    if not 1e-4 <= abs(value) < 1e15:
        return f"{value:.{digits - 1}e}"
    if abs(value) < 1:
        return f"{value:.{digits}g}"
    return f"{value:,.{decimals_of(value, digits)}f}"


def decimals_of(value: float, digits: int) -> int:
    """Return decimals that show so many significant digits of a number of at least 1.

    The number is rounded first: 99.94 has one decimal, 99.96 (100) has no decimals.
    """
    _, exponent = f"{value:.{digits - 1}e}".split("e")
    return max(0, digits - 1 - int(exponent))


def rough(value: float, digits: int = 3) -> str:
    """Return a number with about `digits` significant digits; from a million on with its name."""
    if not math.isfinite(value):
        return "without end"
    value = significant(value, digits)
    for scale, word in _SCALES:
        if abs(value) >= scale:
            return f"{value / scale:.{digits}g}{word}"
    if value == 0 or abs(value) >= 1:
        text = f"{value:,.{decimals_of(value, digits) if value else 0}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:.{digits}g}"


def significant(value: float, digits: int = 3) -> float:
    """Return a number rounded to so many significant digits."""
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))


def percent(share: float) -> str:
    """Return a share in per cent."""
    return f"{100 * share:.0f} %"
