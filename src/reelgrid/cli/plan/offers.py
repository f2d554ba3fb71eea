"""`reelgrid plan offers DEMAND OFFERS`: the cheapest leases that meet a demand."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from reelgrid.cli import options
from reelgrid.cli.plan import sources
from reelgrid.cli.plan.show import check_html, show_report
from reelgrid.cli.progress import progress_shown


@dataclass(frozen=True, slots=True)
class OffersOptions:
    """Options of the command."""

    demand: Annotated[Path, typer.Argument(help="Lease demand (see docs/offers.md) or scenario.")]
    offers: Annotated[Path, typer.Argument(help="CSV or JSON file of offers.")]
    time_limit: Annotated[float, typer.Option(help="Seconds for each solution, at most.")] = 60.0
    gap: Annotated[
        float, typer.Option(help="Stop when no choice can be cheaper by more than this share.")
    ] = 1e-4
    hardware_file: sources.HardwareFiles = None
    models_file: sources.ModelFiles = None
    as_json: options.Json = False
    html: sources.Html = None


@options.from_fields(OffersOptions)
def offers(given: OffersOptions) -> None:
    """Choose the cheapest offers to lease.

    The answer also says which constraints bind, and what one lease more or less would change.
    """
    from reelgrid.plan.offers.choice import choose
    from reelgrid.plan.offers.demand import read_demand
    from reelgrid.plan.offers.milp import SolverOptions
    from reelgrid.plan.offers.offer import read_offers
    from reelgrid.plan.offers.page import choice_report

    check_html(given.html)
    limits = SolverOptions(gap=given.gap, time_limit_s=given.time_limit)
    facts = sources.read_facts(given.hardware_file, given.models_file)
    asked, offered = read_demand(given.demand, facts), read_offers(given.offers, facts.hardware)
    with progress_shown() as show:
        found = choose(asked, offered, facts, limits, lambda what: show(f"solving: {what}"))
    command = f"plan offers {given.demand.name} {given.offers.name}"
    show_report(choice_report(found), command, as_json=given.as_json, html=given.html)
