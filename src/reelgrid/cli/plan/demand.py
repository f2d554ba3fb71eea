"""`reelgrid plan demand SCENARIO`: from a demand to GPUs, cost, energy and time."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reelgrid.cli import options
from reelgrid.cli.output import say
from reelgrid.cli.plan import sources
from reelgrid.cli.progress import progress_shown
from reelgrid.errors import RequestError

if TYPE_CHECKING:
    from reelgrid.plan.demand.model import DemandAnswer

MAX_DRAWS = 100_000
MIN_DRAWS = 100


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("demand")(demand)


def demand(
    scenario: Annotated[Path, typer.Argument(help="TOML file, see docs/demand.md.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same answer.")] = 0,
    draws: Annotated[int, typer.Option(help="Draws of all inputs for the intervals.")] = 10_000,
    hardware_file: sources.HardwareFiles = None,
    models_file: sources.ModelFiles = None,
    as_json: options.Json = False,
    html: sources.Html = None,
) -> None:
    """Say how many GPUs a demand takes, at what cost and energy, how sure, and why."""
    if not MIN_DRAWS <= draws <= MAX_DRAWS:
        raise RequestError(
            f"draws {draws:,} is out of range: {MIN_DRAWS:,} to {MAX_DRAWS:,}", param="draws"
        )
    if not 0 <= seed < 2**63:
        raise RequestError(f"seed {seed} is out of range: 0 to 2**63 - 1", param="seed")

    from reelgrid.plan.demand.model import answer_demand
    from reelgrid.plan.scenario import read_scenario
    from reelgrid.plan.simulation.build import read_simulation
    from reelgrid.report.page import check_page_path

    if html is not None:
        check_page_path(html)
    asked = read_scenario(scenario)
    if asked.simulation is not None:
        read_simulation(asked)  # refused here as `reelgrid simulate` would
    facts = sources.read_facts(hardware_file, models_file)
    with progress_shown() as show:
        found = answer_demand(
            asked,
            facts,
            seed=seed,
            num_draws=draws,
            listener=lambda done, total: show("sensitivity to each input", done, total),
        )
    if html is not None:
        from reelgrid.plan.demand.page import write_demand_page

        write_demand_page(html, found, _origin(scenario, seed, draws))
        say(f"wrote {html}")
    _print(found, as_json=as_json)


def _origin(scenario: Path, seed: int, draws: int) -> str:
    import reelgrid

    return (
        f"reelgrid {reelgrid.__version__}: plan demand {scenario.name} --seed {seed} "
        f"--draws {draws}"
    )


def _print(found: "DemandAnswer", *, as_json: bool) -> None:
    import sys

    from reelgrid.cli.output import print_json, print_table
    from reelgrid.plan.demand import tables
    from reelgrid.plan.demand.page import sentence

    if as_json:
        print_json(tables.as_json(found))
        return
    shown = [
        tables.totals_table(found),
        tables.kinds_table(found),
        tables.influence_table("What the number of GPUs depends on", found.gpus_depend_on),
        tables.influence_table(
            "What the cost of a published minute depends on", found.usd_depends_on
        ),
        tables.training_table(found),
        *([tables.growth_table(found)] if found.scenario.is_growing else []),
        tables.throughputs_table(found),
    ]
    sys.stdout.write(f"{found.scenario.name}: {sentence(found)}\n\n")
    for table in shown:
        if table.rows:
            print_table(table)
            sys.stdout.write("\n")
