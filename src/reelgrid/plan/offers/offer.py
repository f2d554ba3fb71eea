"""GPU offers, read from a file: one offer a row of CSV or an object of JSON."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from pydantic import Field

from reelgrid.errors import RequestError
from reelgrid.plan.facts.hardware import Gpu, find_gpu
from reelgrid.user_files.checking import FieldError, find_at, parse, parse_cells
from reelgrid.user_files.reading import Location, read_csv, read_json

MAX_OFFERS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """GPUs of one kind at one price in one place; the fields are the columns of the file.

    Attributes:
        gpu: The kind, by any name that `reelgrid plan hardware` knows.
        count: How many GPUs there are.
        usd_per_h: Of one GPU for one leased hour.
        provider: Who leases it.
        zone: Where it is; GPUs of one kind in one zone fail together.
        startup_s: From asking to a machine that is ready, the image pulled.
        is_startup_billed: Whether these seconds are paid for.
        hazard_per_h: Losses of one lease in an hour.
        notice_s: Warning before it is taken away.
        is_trusted: Whether private work may run there.
        gpus_per_lease: GPUs of one machine that come and go together.
        minutes_per_gpu_hour: Minutes of video that an hour makes, where the user has measured it.
        date: When the price was seen.
        source: Where.
    """

    gpu: str
    count: Annotated[int, Field(ge=0, le=1_000_000)]
    usd_per_h: Annotated[float, Field(ge=0, le=1e6)]
    provider: str
    zone: str
    startup_s: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    is_startup_billed: bool = True
    hazard_per_h: Annotated[float, Field(ge=0, le=1e4)] = 0.0
    notice_s: Annotated[float, Field(ge=0, le=1e6)] = 0.0
    is_trusted: bool = False
    gpus_per_lease: Annotated[int, Field(ge=1, le=1024)] = 1
    minutes_per_gpu_hour: Annotated[float, Field(gt=0, le=1e9)] | None = None
    date: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("gpu", "provider", "zone"):
            if not getattr(self, name).strip():
                raise FieldError("expected a name, got nothing", param=name)

    @property
    def num_leases(self) -> int:
        """How many leases the GPUs make; a rest smaller than a lease cannot be had."""
        return self.count // self.gpus_per_lease

    @property
    def provider_zone(self) -> str:
        """Provider and zone, as limits name them: `akash/us-west`."""
        return f"{self.provider}/{self.zone}"

    @property
    def name(self) -> str:
        """Kind, provider and zone."""
        return f"{self.gpu} at {self.provider_zone}"


def read_offers(path: Path, hardware: Mapping[str, Gpu] | None = None) -> tuple[Offer, ...]:
    """Return the offers of a `.csv` or `.json` file, in its order.

    Args:
        path: The file.
        hardware: GPUs that are known; where given, others are refused at their line.

    Raises:
        RequestError: It cannot be read; the message has the file, the line, the column and what is
            expected.
    """
    readers = {".json": _json_offers, ".csv": _csv_offers}
    if path.suffix.lower() not in readers:
        raise RequestError(f"{path}: expected a file that ends in .csv or .json", param="offers")
    located = list(readers[path.suffix.lower()](path))
    for offer, location in located if hardware is not None else ():
        find_at(location / "gpu", find_gpu, offer.gpu, hardware or {})
    if not 1 <= len(located) <= MAX_OFFERS:
        raise RequestError(f"{path}: expected 1 to {MAX_OFFERS:,} offers, got {len(located):,}")
    return tuple(offer for offer, _ in located)


def _json_offers(path: Path) -> Iterator[tuple[Offer, Location]]:
    rows, root = read_json(path)
    if not isinstance(rows, list):
        raise root.error("expected an array of offers")
    for index, row in enumerate(rows):
        yield parse(Offer, row, root / index), root / index


def _csv_offers(path: Path) -> Iterator[tuple[Offer, Location]]:
    for cells, location in read_csv(path, [field.name for field in fields(Offer)]):
        yield parse_cells(Offer, cells, location), location
