"""Options and facts shared by the commands of `plan`: the package's facts and the user's own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reelgrid.cli.options import read_settings

if TYPE_CHECKING:
    from reelgrid.plan.facts.known import Facts

HardwareFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--hardware-file", metavar="FILE", help="CSV of GPUs that override or add to the table."
    ),
]
ModelFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--models-file", metavar="FILE", help="TOML of models that override or add to the table."
    ),
]
Measurements = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Records of reelgrid bench. By default the user's own."),
]
Html = Annotated[
    Path | None,
    typer.Option(
        "--html", metavar="FILE", help="Write a page with charts that opens without a network."
    ),
]


def read_facts(
    hardware_files: list[Path] | None,
    model_files: list[Path] | None,
    measurements: Path | None = None,
) -> "Facts":
    """Return the package's facts, overridden by the user's, and the user's measurements.

    Args:
        hardware_files: CSV files of GPUs, beside that of the data folder.
        model_files: TOML files of models, beside that of the data folder.
        measurements: Records of `reelgrid bench`; by default those of the data folder.

    Raises:
        RequestError: A file cannot be read, or has a mistake.
    """
    from reelgrid.measurement import read_records
    from reelgrid.plan.facts import user_file, user_files
    from reelgrid.plan.facts.architectures import read_architectures
    from reelgrid.plan.facts.hardware import read_hardware
    from reelgrid.plan.facts.known import Facts

    settings = read_settings()
    records = measurements or settings.measurements
    is_read = measurements is not None or records.is_file()
    return Facts(
        hardware=read_hardware(user_files(settings.data, "gpus.csv", hardware_files)),
        architectures=read_architectures(user_files(settings.data, "models.toml", model_files)),
        measurements=read_records(records) if is_read else (),
        calibration_file=user_file(settings.data, "calibration.json"),
    )
