"""Rental facts: public prices by provider, and how often rented GPUs are lost and restarted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reelgrid.plan.facts import Name, Positive, read_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A public price of an hour of one GPU.

    Attributes:
        gpu: Name in the table of GPUs.
        terms: Such as `community`, `secure` or `spot`.
        usd_per_h: Billed per hour of the lease, busy or idle.
    """

    name: Name
    gpu: Name
    provider: Name
    terms: str = ""
    usd_per_h: Positive
    source: str = ""
    date: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Churn:
    """How GPUs of one kind of supply are lost and started; what was not measured is `None`.

    Attributes:
        hazard_per_h: Losses of a node in an hour.
        hazard_fresh_per_h: Losses of a node that has just started.
        hazard_old_per_h: Losses of a node that has run for days.
        weibull_shape: Shape of the distribution of the length of runs.
        weibull_scale_h: Its scale.
        notice_s: Seconds between notice and loss.
        startup_median_s: Median of a log-normal start-up time.
        startup_sigma: Standard deviation of its logarithm.
        outage_low_h: Mean outage of the best zone.
        outage_high_h: Mean outage of the worst zone.
    """

    name: Name
    hazard_per_h: Positive | None = None
    hazard_fresh_per_h: Positive | None = None
    hazard_old_per_h: Positive | None = None
    weibull_shape: Positive | None = None
    weibull_scale_h: Positive | None = None
    notice_s: Positive | None = None
    startup_median_s: Positive | None = None
    startup_sigma: Positive | None = None
    outage_low_h: Positive | None = None
    outage_high_h: Positive | None = None
    note: str = ""
    source: str = ""
    date: str = ""


def read_prices(extra: Sequence[Path] = ()) -> tuple[Price, ...]:
    """Return public prices by provider: the package's, overridden by rows of the user's files.

    Args:
        extra: CSV files with columns of `plan/facts/prices.csv`.

    Raises:
        RequestError: A file has an unknown column, or a cell has a wrong value.
    """
    return tuple(read_table(Price, "prices.csv", extra).values())


def read_churn(extra: Sequence[Path] = ()) -> dict[str, Churn]:
    """Return measured churn by name: the package's, overridden by rows of the user's files.

    Args:
        extra: CSV files with columns of `plan/facts/churn.csv`.

    Raises:
        RequestError: A file has an unknown column, or a cell has a wrong value.
    """
    return read_table(Churn, "churn.csv", extra)
