"""`reelgrid plan demand SCENARIO`: from a demand to GPUs, cost, energy and time."""

from pathlib import Path
from typing import Annotated

import typer

from reelgrid.cli import options
from reelgrid.cli.plan import sources
from reelgrid.cli.plan.show import check_html, show_report
from reelgrid.cli.progress import progress_shown


def demand(
    scenario: Annotated[Path, typer.Argument(help="TOML file, see docs/demand.md.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same answer.")] = 0,
    draws: Annotated[int, typer.Option(help="Draws of all inputs for the intervals.")] = 10_000,
    hardware_file: sources.HardwareFiles = None,
    models_file: sources.ModelFiles = None,
    as_json: options.Json = False,
    html: sources.Html = None,
) -> None:
    """Compute how many GPUs a demand takes, and their cost.

    Energy is computed too, and the uncertainty of every figure.
    """
    from reelgrid.plan.demand.model import answer_demand
    from reelgrid.plan.demand.page import demand_report
    from reelgrid.plan.scenario.values import read_scenario
    from reelgrid.plan.simulation.build import read_simulation

    check_html(html)
    asked = read_scenario(scenario)
    if asked.simulation is not None:
        read_simulation(asked)  # refuses what `reelgrid simulate` would
    facts = sources.read_facts(hardware_file, models_file)
    with progress_shown() as show:
        found = answer_demand(
            asked,
            facts,
            seed=seed,
            num_draws=draws,
            listener=lambda done, total: show("sensitivity to each input", done, total),
        )
    command = f"plan demand {scenario.name} --seed {seed} --draws {draws}"
    show_report(demand_report(found), command, as_json=as_json, html=html)
