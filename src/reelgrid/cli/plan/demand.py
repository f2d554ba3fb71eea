"""`reelgrid plan demand SCENARIO`: from a demand to GPUs, cost, energy and time."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reelgrid.cli import options
from reelgrid.cli.plan import sources
from reelgrid.cli.plan.show import check_html, show_report
from reelgrid.cli.progress import progress_shown

if TYPE_CHECKING:
    from reelgrid.plan.demand.model import DemandAnswer


@dataclass(frozen=True, slots=True)
class DemandOptions:
    """Options of the command."""

    scenario: Annotated[Path, typer.Argument(help="TOML file, see docs/demand.md.")]
    seed: Annotated[int, typer.Option(help="The same seed gives the same answer.")] = 0
    draws: Annotated[int, typer.Option(help="Draws of all inputs for the intervals.")] = 10_000
    hardware_file: sources.HardwareFiles = None
    models_file: sources.ModelFiles = None
    as_json: options.Json = False
    html: sources.Html = None


@options.from_fields(DemandOptions)
def demand(given: DemandOptions) -> None:
    """Compute how many GPUs a demand takes, and their cost.

    Energy is computed too, and the uncertainty of every figure.
    """
    from reelgrid.plan.demand.page import demand_report

    check_html(given.html)
    found = _answer(given)
    command = f"plan demand {given.scenario.name} --seed {given.seed} --draws {given.draws}"
    show_report(demand_report(found), command, as_json=given.as_json, html=given.html)


def _answer(given: DemandOptions) -> "DemandAnswer":
    from reelgrid.plan.demand.model import answer_demand
    from reelgrid.plan.scenario.values import read_scenario
    from reelgrid.plan.simulation.build import read_simulation

    asked = read_scenario(given.scenario)
    if asked.simulation is not None:
        read_simulation(asked)  # refuses what `reelgrid simulate` would
    facts = sources.read_facts(given.hardware_file, given.models_file)
    with progress_shown() as show:
        return answer_demand(
            asked,
            facts,
            seed=given.seed,
            num_draws=given.draws,
            listener=lambda done, total: show("sensitivity to each input", done, total),
        )
