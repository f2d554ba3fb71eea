"""What can be leased, as a strict file: one offer a row of CSV or an object of JSON.

Not here: what is to be made (`order`), what an hour of an offer yields (`lease_yield`), and which
offers to take (`solve`).
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

from reelgrid.errors import RequestError
from reelgrid.plan.facts.hardware import Gpu, find_gpu
from reelgrid.plan.scenario.reading import MAX_BYTES, Location, find_at, read_table, unknown
from reelgrid.plan.scenario.rules import Bounds, check_bounds

_YES_NO = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}

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
    count: Annotated[int, Bounds(at_least=0, at_most=1_000_000)]
    usd_per_h: Annotated[float, Bounds(at_least=0, at_most=1e6)]
    provider: str
    zone: str
    startup_s: Annotated[float, Bounds(at_least=0, at_most=1e6)] = 0.0
    is_startup_billed: bool = True
    hazard_per_h: Annotated[float, Bounds(at_least=0, at_most=1e4)] = 0.0
    notice_s: Annotated[float, Bounds(at_least=0, at_most=1e6)] = 0.0
    is_trusted: bool = False
    gpus_per_lease: Annotated[int, Bounds(at_least=1, at_most=1024)] = 1
    minutes_per_gpu_hour: Annotated[float, Bounds(above=0, at_most=1e9)] | None = None
    date: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        check_bounds(self)
        for name in ("gpu", "provider", "zone"):
            if not getattr(self, name).strip():
                raise RequestError("expected a name, got nothing", param=name)

    @property
    def num_leases(self) -> int:
        """How many leases the GPUs make; a rest smaller than a lease cannot be had."""
        return self.count // self.gpus_per_lease

    @property
    def place(self) -> str:
        """Provider and zone, as limits name them: `akash/us-west`."""
        return f"{self.provider}/{self.zone}"

    @property
    def name(self) -> str:
        """Kind, provider and zone."""
        return f"{self.gpu} at {self.place}"


def read_offers(path: Path, hardware: Mapping[str, Gpu] | None = None) -> tuple[Offer, ...]:
    """Return the offers of a `.csv` or `.json` file, in its order.

    Args:
        path: The file.
        hardware: GPUs that are known; where given, others are refused at their line.

    Raises:
        RequestError: It cannot be read; the message has the file, the line or place, the column
            and what was expected.
    """
    text = read_text(path)
    if path.suffix.lower() == ".json":
        placed = _json_offers(text, str(path))
    elif path.suffix.lower() == ".csv":
        placed = _csv_offers(text, str(path))
    else:
        raise RequestError(f"{path}: expected a file that ends in .csv or .json", param="offers")
    offers = tuple(_checked(offer, place, hardware) for offer, place in placed)
    if not 1 <= len(offers) <= MAX_OFFERS:
        raise RequestError(f"{path}: expected 1 to {MAX_OFFERS:,} offers, got {len(offers):,}")
    return offers


def _checked(offer: Offer, place: Location, hardware: Mapping[str, Gpu] | None) -> Offer:
    if hardware is not None:
        find_at(place / "gpu", find_gpu, offer.gpu, hardware)
    return offer


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        RequestError: There is no such file, it is too large, or no text.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RequestError(f"{path}: expected a file of at most {MAX_BYTES:,} bytes, got more")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise RequestError(f"{path}: expected text in UTF-8, got other bytes") from None


def read_json(text: str, file: str) -> Any:
    """Return what a JSON text holds; a key that comes twice is refused.

    Raises:
        RequestError: It is no valid JSON.
    """
    try:
        return json.loads(text, object_pairs_hook=_distinct)
    except RecursionError:
        raise RequestError(f"{file}: expected plain objects, got arrays nested too deep") from None
    except json.JSONDecodeError as error:
        raise RequestError(f"{file}:{error.lineno}: expected valid JSON: {error.msg}") from None
    except ValueError as error:
        raise RequestError(f"{file}: {error}") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} comes twice in one object")
    return table


def _json_offers(text: str, file: str) -> Iterator[tuple[Offer, Location]]:
    rows = read_json(text, file)
    root = Location(file, {})
    if not isinstance(rows, list):
        raise root.error("expected an array of offers")
    for index, row in enumerate(rows):
        yield read_table(Offer, row, root / index), root / index


def _csv_offers(text: str, file: str) -> Iterator[tuple[Offer, Location]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    try:
        for row in reader:
            place = Location(file, {(): reader.line_num})
            if not header:
                header = _header(row, place)
            elif any(cell.strip() for cell in row):
                yield read_table(Offer, _cells(header, row, place), place), place
    except csv.Error as error:
        raise RequestError(f"{file}:{reader.line_num}: expected valid CSV: {error}") from None


def _header(row: list[str], place: Location) -> list[str]:
    names = [cell.strip() for cell in row]
    known = [field.name for field in fields(Offer)]
    for name in names:
        if name not in known:
            raise place.error(unknown(name, known, "column"))
        if names.count(name) > 1:
            raise place.error(f"the column {name!r} comes twice")
    return names


def _cells(header: list[str], row: list[str], place: Location) -> dict[str, object]:
    """Return the cells that are not empty, as numbers and truth values where their columns are."""
    if len(row) != len(header):
        raise place.error(f"expected {len(header)} cells, as the first line has, got {len(row)}")
    return {
        name: _value(name, cell.strip())
        for name, cell in zip(header, row, strict=True)
        if cell.strip()
    }


_KINDS = {field.name: str(field.type) for field in fields(Offer)}


def _value(name: str, cell: str) -> object:
    """Return a cell as its column has it, or as text where it is none: `read_table` says so."""
    kind = _KINDS[name]
    if "bool" in kind:
        return _YES_NO.get(cell.lower(), cell)
    for number in (int, float) if "int" in kind or "float" in kind else ():
        try:
            return number(cell)
        except ValueError:
            continue
    return cell
