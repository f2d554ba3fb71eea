"""Numbers in sentences: `9.63 million`, `412 (380 to 455)`."""

import math

from reelgrid.plan.uncertainty import Interval
from reelgrid.report.table import decimals_of

_SCALES = ((1e12, " trillion"), (1e9, " billion"), (1e6, " million"))


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


def with_interval(interval: Interval, unit: str = "") -> str:
    """Return the middle and its interval, `412 (380 to 455)`; one number where it is certain."""
    middle = unit + rough(interval.likely)
    if significant(interval.low) == significant(interval.high):
        return middle
    return f"{middle} ({unit}{rough(interval.low)} to {unit}{rough(interval.high)})"


def percent(share: float) -> str:
    """Return a share in per cent."""
    return f"{100 * share:.0f} %"
