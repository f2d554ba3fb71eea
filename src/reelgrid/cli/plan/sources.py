"""Facts that commands of `plan` share: the package's, the user's own files, his measurements."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reelgrid.cli.options import read_settings

if TYPE_CHECKING:
    from reelgrid.plan.facts.known import Facts

HardwareFiles = Annotated[
    list[Path] | None,
    typer.Option("--hardware-file", help="CSV of GPUs that override or add to the table."),
]
ModelFiles = Annotated[
    list[Path] | None,
    typer.Option("--models-file", help="TOML of models that override or add to the table."),
]
Html = Annotated[
    Path | None, typer.Option("--html", help="Write a page with charts; opens without network.")
]


def read_facts(hardware_files: list[Path] | None, model_files: list[Path] | None) -> "Facts":
    """Return what is known: the package's facts, the user's on top, and his measurements.

    Raises:
        RequestError: A file cannot be read.
    """
    from reelgrid.measurement import read_records
    from reelgrid.plan import facts
    from reelgrid.plan.facts.architectures import read_architectures
    from reelgrid.plan.facts.hardware import read_hardware
    from reelgrid.plan.facts.known import Facts

    settings = read_settings()
    hardware = (*facts.user_files(settings.data, "gpus.csv"), *(hardware_files or ()))
    models = (*facts.user_files(settings.data, "models.toml"), *(model_files or ()))
    records = settings.measurements
    return Facts(
        hardware=read_hardware(hardware),
        architectures=read_architectures(models),
        measurements=read_records(records) if records.is_file() else (),
    )
