"""Dated facts with their sources, as files; a user's own files of the same form override rows."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BeforeValidator, Field

from reelgrid.user_files.checking import parse_cells
from reelgrid.user_files.reading import parse_csv, read_csv

T = TypeVar("T")

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0)]
Name = Annotated[str, Field(min_length=1)]


Names = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda cell: tuple(cell.split("|")) if isinstance(cell, str) else cell),
]
"""Names in one cell, with `|` between them."""


def read_text(name: str) -> str:
    """Return a file of the package, such as `gpus.csv`."""
    return resources.files("reelgrid.plan.facts").joinpath(name).read_text(encoding="utf-8")


def user_file(data: Path, name: str) -> Path | None:
    """Return the user's own file of a name, in the folder `facts` of the user's data, if any."""
    path = data / "facts" / name
    return path if path.is_file() else None


def user_files(data: Path, name: str, given: Sequence[Path] | None) -> tuple[Path, ...]:
    """Return the user's own file of a name, if any, and after it the files given as options."""
    own = user_file(data, name)
    return (*([] if own is None else [own]), *(given or ()))


def read_table(kind: type[T], name: str, extra: Sequence[Path] = ()) -> dict[str, T]:
    """Return the rows of a CSV file of the package by `name`, overridden by the user's files.

    A user's row of a known name changes the cells that it fills and keeps the others; any other row
    is new. A row of the user that names no source has the file as its source.

    Args:
        kind: A dataclass whose fields are the columns.
        name: A file of the package whose first column is `name`.
        extra: The user's files; a later one overrides an earlier one.

    Raises:
        RequestError: A file cannot be read, has an unknown column, or a cell has a wrong value.
    """
    text = read_text(name)
    rows = {cells["name"]: (cells, location) for cells, location in parse_csv(text, name)}
    columns = text.partition("\n")[0].split(",")
    for path in extra:
        for cells, location in read_csv(path, columns):
            if "name" not in cells:
                raise location.error("expected a name in the column 'name'")
            known, _ = rows.get(cells["name"], ({}, location))
            rows[cells["name"]] = known | {"source": str(path)} | cells, location
    return {key: parse_cells(kind, cells, location) for key, (cells, location) in rows.items()}
