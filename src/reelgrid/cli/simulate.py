"""`reelgrid simulate`: a fleet in simulated time, under the service's own policy."""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from reelgrid.cli import options
from reelgrid.cli.output import duration, say
from reelgrid.cli.plan import sources
from reelgrid.cli.progress import progress_shown
from reelgrid.errors import RequestError

if TYPE_CHECKING:
    from reelgrid.plan.facts.known import Facts
    from reelgrid.plan.scenario import Scenario
    from reelgrid.plan.simulation.config import SimulationConfig
    from reelgrid.plan.simulation.run import Comparison

_LINE_EVERY_S = 10.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("simulate")(simulate)


def simulate(
    scenario: Annotated[Path, typer.Argument(help="TOML file with a table [simulation].")],
    seed: Annotated[
        int | None, typer.Option(min=0, help="In place of the file's; the same gives the same.")
    ] = None,
    runs: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Independent runs, for the intervals.")
    ] = None,
    hours: Annotated[float | None, typer.Option(help="Simulated hours.")] = None,
    engine: Annotated[
        Literal["auto", "reference", "fast"],
        typer.Option(help="plain needs no numba; compiled is for large fleets; same answers."),
    ] = "auto",
    compare: Annotated[
        bool, typer.Option(help="Run the same without saved state, to compare.")
    ] = True,
    hardware_file: sources.HardwareFiles = None,
    models_file: sources.ModelFiles = None,
    as_json: options.Json = False,
    html: sources.Html = None,
) -> None:
    """Simulate a fleet: waits, use, losses with and without saved state, cost."""
    from reelgrid.plan.scenario import read_scenario
    from reelgrid.plan.simulation.build import experiment_of, read_simulation
    from reelgrid.plan.simulation.run import compare as run_both
    from reelgrid.report.page import check_page_path

    if html is not None:
        check_page_path(html)
    read = read_scenario(scenario)
    simulation = _changed(read_simulation(read), seed, runs, hours)
    facts = sources.read_facts(hardware_file, models_file)
    experiment = experiment_of(read, simulation, facts)
    begin_s = time.perf_counter()
    with progress_shown("simulating", lines_every_s=_LINE_EVERY_S) as show:
        comparison = run_both(
            experiment,
            num_runs=simulation.runs,
            engine=engine,
            also_without_checkpoints=compare,
            promise_s=read.promise.wait_s if read.promise else None,
            on_share=lambda share: show("simulating", share, 1.0),
        )
    _say_pace(comparison, time.perf_counter() - begin_s)
    gpus_counted = _counted(read, facts)
    _print(read, comparison, gpus_counted, as_json=as_json)
    if html is not None:
        _write(html, read, comparison, scenario, gpus_counted)


def _counted(read: "Scenario", facts: "Facts") -> int | None:
    """Return the GPUs that `plan demand` would hold, or none where it refuses the scenario."""
    from reelgrid.plan.demand.model import held_gpus

    try:
        return held_gpus(read, facts)
    except RequestError:  # such as of a GPU without a price, which does not matter here
        return None


def _changed(
    simulation: "SimulationConfig", seed: int | None, runs: int | None, hours: float | None
) -> "SimulationConfig":
    wanted = {"seed": seed, "runs": runs, "hours": hours}
    given = {key: value for key, value in wanted.items() if value is not None}
    try:
        return replace(simulation, **given)  # type: ignore[arg-type]  # of the field's type each
    except RequestError as error:
        raise RequestError(f"--{error.param}: {error}", param=error.param) from None


def _say_pace(comparison: "Comparison", seconds: float) -> None:
    say(
        f"{comparison.num_events:,} events in {duration(seconds)}, {comparison.engine} engine, "
        f"seed {comparison.experiment.seed}"
    )


def _print(
    read: "Scenario", comparison: "Comparison", gpus_counted: int | None, *, as_json: bool
) -> None:
    from reelgrid.cli.output import print_json, print_table
    from reelgrid.plan.simulation import report

    if as_json:
        print_json(report.as_json(read.name, comparison, gpus_counted))
        return
    sys.stdout.write(f"{read.name}: {report.answer(comparison)}\n\n")
    for table in report.tables(comparison, gpus_counted):
        print_table(table)
        sys.stdout.write("\n")


def _write(
    html: Path, read: "Scenario", comparison: "Comparison", source: Path, gpus_counted: int | None
) -> None:
    from reelgrid.plan.simulation import report
    from reelgrid.report.page import write_page

    write_page(
        html,
        title=f"{read.name}: the fleet, simulated",
        answer=report.answer(comparison),
        key_figures=report.key_figures(comparison),
        sections=report.sections(comparison, read.description, gpus_counted),
        origin=f"reelgrid simulate {source}, seed {comparison.experiment.seed}",
    )
    say(f"wrote {html}")
