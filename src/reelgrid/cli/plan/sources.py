"""Facts of GPUs, models and measurements together, for the commands that need all three."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reelgrid.cli.plan import known

if TYPE_CHECKING:
    from reelgrid.plan.service import Facts

Html = Annotated[
    Path | None, typer.Option("--html", help="Write a page with charts; opens without network.")
]


def read_facts(
    hardware_files: list[Path] | None,
    models_files: list[Path] | None,
    measurements_file: Path | None,
) -> "Facts":
    """Return what is known: the package's facts, the user's on top, and his measurements.

    Raises:
        RequestError: A file cannot be read.
    """
    from reelgrid.plan.service import Facts

    return Facts(
        hardware=known.hardware(hardware_files),
        architectures=known.architectures(models_files),
        measurements=known.measurements(measurements_file),
    )
