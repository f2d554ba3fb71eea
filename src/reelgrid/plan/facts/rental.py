"""What rented GPUs cost and how they come and go, as facts: prices by provider, measured churn.

Not here: the offers of a day (`offer`), and fleets under such churn (`simulation`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from reelgrid.plan import facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A public price of an hour of one GPU.

    Attributes:
        gpu: Name in the table of GPUs.
        terms: Such as `community`, `secure` or `spot`.
        usd_per_h: Billed per hour of the lease, busy or idle.
    """

    name: str
    gpu: str
    provider: str
    terms: str
    usd_per_h: float
    source: str
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Churn:
    """How GPUs of one kind of supply are lost and started; none where it was not measured.

    Attributes:
        hazard_per_h: Losses of a node in an hour.
        hazard_fresh_per_h: Of one that has just started.
        hazard_old_per_h: Of one that has run for days.
        weibull_shape: Of the length of runs.
        weibull_scale_h: Likewise.
        notice_s: Seconds between notice and loss.
        startup_median_s: Of a log-normal start-up time.
        startup_sigma: Likewise.
        outage_low_h: Mean outage of the best zone.
        outage_high_h: Of the worst.
    """

    name: str
    hazard_per_h: float | None
    hazard_fresh_per_h: float | None
    hazard_old_per_h: float | None
    weibull_shape: float | None
    weibull_scale_h: float | None
    notice_s: float | None
    startup_median_s: float | None
    startup_sigma: float | None
    outage_low_h: float | None
    outage_high_h: float | None
    note: str
    source: str
    date: str


def read_prices(extra: Sequence[Path] = ()) -> tuple[Price, ...]:
    """Return public prices by provider: the package's, overridden by rows of the user's files.

    Args:
        extra: CSV files with columns of `plan/facts/prices.csv`.

    Raises:
        RequestError: A file has an unknown column or a cell that cannot be.
    """
    rows = facts.read_table("prices.csv", extra).values()
    return tuple(
        Price(
            **{field.name: row[field.name] for field in fields(Price) if field.type is str},
            usd_per_h=facts.needed(row, "usd_per_h", f"price {row['name']}"),
        )
        for row in rows
    )


def read_churn(extra: Sequence[Path] = ()) -> dict[str, Churn]:
    """Return measured churn by name: the package's, overridden by rows of the user's files.

    Args:
        extra: CSV files with columns of `plan/facts/churn.csv`.

    Raises:
        RequestError: A file has an unknown column or a cell that cannot be.
    """
    table = facts.read_table("churn.csv", extra)
    return {name: _churn(row) for name, row in table.items()}


def _churn(row: facts.Row) -> Churn:
    where = f"churn {row['name']}"
    texts = {field.name: row[field.name] for field in fields(Churn) if field.type is str}
    numbers = {
        field.name: facts.number(row, field.name, where)
        for field in fields(Churn)
        if field.type is not str
    }
    return Churn(**texts, **numbers)  # type: ignore[arg-type]  # names and types are the fields' own
