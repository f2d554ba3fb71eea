"""`reelgrid plan offers DEMAND OFFERS`: the cheapest leases that do what is asked."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reelgrid.cli import options
from reelgrid.cli.output import say
from reelgrid.cli.plan import sources
from reelgrid.cli.progress import progress_shown

if TYPE_CHECKING:
    from reelgrid.plan.offers.choice import Choice


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("offers")(offers)


def offers(
    demand: Annotated[
        Path, typer.Argument(help="TOML or JSON, see docs/offers.md; or a scenario.")
    ],
    offers: Annotated[Path, typer.Argument(help="CSV or JSON file of offers.")],
    time_limit: Annotated[
        float, typer.Option(help="Seconds to look at most for each of the solutions.")
    ] = 60.0,
    gap: Annotated[
        float, typer.Option(help="Stop when no choice can be cheaper by more than this share.")
    ] = 1e-4,
    hardware_file: sources.HardwareFiles = None,
    models_file: sources.ModelFiles = None,
    as_json: options.Json = False,
    html: sources.Html = None,
) -> None:
    """Choose which offers to lease: cheapest first proved, then what binds and what would change."""
    from reelgrid.plan.offers.choice import choose
    from reelgrid.plan.offers.demand import read_demand
    from reelgrid.plan.offers.milp import SolverOptions
    from reelgrid.plan.offers.offer import read_offers
    from reelgrid.report.page import check_page_path

    if html is not None:
        check_page_path(html)
    options = SolverOptions(gap=gap, time_limit_s=time_limit)
    facts = sources.read_facts(hardware_file, models_file)
    asked, offered = read_demand(demand, facts), read_offers(offers, facts.hardware)
    with progress_shown() as show:
        found = choose(asked, offered, facts, options, tell=lambda what: show(f"solving: {what}"))
    if html is not None:
        from reelgrid.plan.offers.page import write_choice_page

        write_choice_page(html, found, _origin(demand, offers))
        say(f"wrote {html}")
    _print(found, as_json=as_json)


def _origin(demand: Path, offers: Path) -> str:
    import reelgrid

    return f"reelgrid {reelgrid.__version__}: plan offers {demand.name} {offers.name}"


def _print(found: "Choice", *, as_json: bool) -> None:
    from reelgrid.cli.output import print_json, print_table
    from reelgrid.plan.offers import tables as tables

    if as_json:
        print_json(tables.as_json(found))
        return
    sys.stdout.write(f"{tables.sentence(found)}\n{tables.uncertainty_sentence(found)}\n\n")
    for table in (
        tables.leases_table(found),
        tables.work_table(found),
        tables.sensitivity_table(found),
        tables.kinds_table(found),
        tables.comparison_table(found),
    ):
        if table.rows:
            print_table(table)
            sys.stdout.write("\n")
