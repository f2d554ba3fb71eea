"""Conversions between units, each in one place."""

GIB = 2**30
"""Bytes of a GiB."""

SECONDS_PER_HOUR = 3600
SECONDS_PER_DAY = 86_400
HOURS_PER_DAY = 24

DAYS_PER_MONTH = 365.25 / 12
HOURS_PER_MONTH = DAYS_PER_MONTH * HOURS_PER_DAY
