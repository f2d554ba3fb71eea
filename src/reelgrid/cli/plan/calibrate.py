"""`reelgrid plan calibrate`: refit the formula with the user's own measurements."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reelgrid.cli import options
from reelgrid.cli.output import print_json, print_table, say
from reelgrid.cli.plan import sources
from reelgrid.cli.progress import progress_shown

if TYPE_CHECKING:
    from reelgrid.plan.prediction.calibrate import Recalibration


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateOptions:
    """Options of the command."""

    measurements: sources.Measurements = None
    hardware_files: sources.HardwareFiles = None
    model_files: sources.ModelFiles = None
    is_dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the errors, but keep the present calibration.")
    ] = False
    as_json: options.Json = False


@options.from_fields(CalibrateOptions)
def calibrate(given: CalibrateOptions) -> None:
    """Refit the formula with your own measurements.

    The errors before and after are printed.
    """
    from datetime import UTC, datetime

    from reelgrid.plan.prediction.calibrate import own_observations, recalibrate

    facts = sources.read_facts(given.hardware_files, given.model_files, given.measurements)
    own = own_observations(facts.measurements, facts.hardware, facts.architectures)
    with progress_shown() as show:
        found = recalibrate(
            own,
            date=datetime.now(UTC).date().isoformat(),
            progress=lambda done, total: show("fits without one source each", done, total),
        )
    path = options.read_settings().data / "facts" / "calibration.json"
    if not given.is_dry_run:
        _save(path, found)
    _print(found, None if given.is_dry_run else path, as_json=given.as_json)


def _save(path: Path, found: "Recalibration") -> None:
    from reelgrid.plan.prediction.fit import to_json
    from reelgrid.plan.prediction.power import read_power
    from reelgrid.store.atomic import atomic_write

    source = f"reelgrid plan calibrate with {len(found.own)} own observations"
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as new:
        new.write_text(to_json(found.calibration, read_power(), source), encoding="utf-8")


def _print(found: "Recalibration", path: Path | None, *, as_json: bool) -> None:
    from reelgrid.plan.prediction import report

    if as_json:
        print_json(report.recalibration_as_json(found, path))
        return
    print_table(report.recalibration_table(found))
    if path is not None:
        say(f"wrote {path}; remove it to return to the package's calibration")
