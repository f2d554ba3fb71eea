"""`reelgrid simulate`: simulate a fleet of a scenario under the service's own policy."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from reelgrid.cli import options
from reelgrid.cli.output import duration, say
from reelgrid.cli.plan import sources
from reelgrid.cli.plan.show import check_html, print_report, write_html
from reelgrid.cli.progress import progress_shown
from reelgrid.errors import RequestError

if TYPE_CHECKING:
    from reelgrid.plan.facts.known import Facts
    from reelgrid.plan.scenario.values import Scenario
    from reelgrid.plan.simulation.config import SimulationConfig
    from reelgrid.plan.simulation.run import Comparison

_LINE_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class SimulateOptions:
    """Options of the command."""

    scenario: Annotated[Path, typer.Argument(help="TOML file with a table [simulation].")]
    seed: Annotated[int | None, typer.Option(min=0, help="Seed; by default that of the file.")] = (
        None
    )
    runs: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help="Independent runs, for confidence intervals."),
    ] = None
    hours: Annotated[float | None, typer.Option(help="Simulated hours.")] = None
    engine: Annotated[
        Literal["auto", "reference", "fast"],
        typer.Option(
            help="reference needs no numba, fast is for large fleets; both give the same results."
        ),
    ] = "auto"
    compare: Annotated[
        bool, typer.Option(help="Simulate the same without checkpoints too, for comparison.")
    ] = True
    hardware_file: sources.HardwareFiles = None
    models_file: sources.ModelFiles = None
    as_json: options.Json = False
    html: sources.Html = None

    def changed(self, config: "SimulationConfig") -> "SimulationConfig":
        """Return the `[simulation]` part of the file with the options given here.

        Raises:
            RequestError: An option is out of range; the message names it.
        """
        from reelgrid.user_files.checking import replace_checked

        given = {"seed": self.seed, "runs": self.runs, "hours": self.hours}
        changes = {key: value for key, value in given.items() if value is not None}
        try:
            return replace_checked(config, **changes)
        except RequestError as error:
            raise RequestError(f"--{error.param}: {error}", param=error.param) from None


@options.from_fields(SimulateOptions)
def simulate(given: SimulateOptions) -> None:
    """Simulate a fleet of GPUs over hours or days.

    The report has waits, GPU use, lost work with and without checkpoints, and cost.
    """
    from reelgrid.plan.scenario.values import read_scenario
    from reelgrid.plan.simulation.report import simulation_report

    check_html(given.html)
    scenario = read_scenario(given.scenario)
    facts = sources.read_facts(given.hardware_file, given.models_file)
    comparison = _compare(given, scenario, facts)
    report = simulation_report(scenario, comparison, _counted(scenario, facts))
    print_report(report, as_json=given.as_json)
    origin = f"reelgrid simulate {given.scenario}, seed {comparison.experiment.seed}"
    write_html(given.html, report, origin)


def _compare(given: SimulateOptions, scenario: "Scenario", facts: "Facts") -> "Comparison":
    """Run the simulation with progress and print its pace."""
    from reelgrid.plan.simulation.build import experiment_of, read_simulation
    from reelgrid.plan.simulation.run import compare

    config = given.changed(read_simulation(scenario))
    experiment = experiment_of(scenario, config, facts)
    begin_s = time.perf_counter()
    with progress_shown("simulating", lines_every_s=_LINE_EVERY_S) as show:
        comparison = compare(
            experiment,
            num_runs=config.runs,
            engine=given.engine,
            also_without_checkpoints=given.compare,
            promise_s=scenario.promise.wait_s if scenario.promise else None,
            on_share=lambda share: show("simulating", share, 1.0),
        )
    say(
        f"{comparison.num_events:,} events in {duration(time.perf_counter() - begin_s)}, "
        f"{comparison.engine} engine, seed {experiment.seed}"
    )
    return comparison


def _counted(scenario: "Scenario", facts: "Facts") -> int | None:
    """Return the GPUs that `plan demand` holds; `None` where it refuses the scenario."""
    from reelgrid.plan.demand.model import held_gpus

    try:
        return held_gpus(scenario, facts)
    except RequestError:  # for example of a GPU without a price, which does not matter here
        return None
