"""`reelgrid plan sora-report`: the report that started this project, figure by figure."""

import sys

import typer

from reelgrid.cli import options
from reelgrid.cli.output import say
from reelgrid.cli.plan import sources
from reelgrid.cli.progress import progress_shown


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("sora-report")(sora_report)


def sora_report(
    hardware_file: sources.HardwareFiles = None,
    models_file: sources.ModelFiles = None,
    as_json: options.Json = False,
    html: sources.Html = None,
) -> None:
    """Recompute the Sora report of March 2024, and say where it does not hold and what is so today."""
    import reelgrid
    from reelgrid.cli.output import print_json, print_table
    from reelgrid.plan.sora_report import page

    facts = sources.read_facts(hardware_file, models_file)
    with progress_shown() as show:
        found = page.report(facts, lambda done, total: show("today's models", done, total))
    if html is not None:
        page.write_sora_page(html, found, f"reelgrid {reelgrid.__version__}: plan sora-report")
        say(f"wrote {html}")
    if as_json:
        print_json(page.as_json(found))
        return
    sys.stdout.write(f"{page.sentence(found)}\n\n")
    for table in page.tables(found):
        print_table(table)
        sys.stdout.write("\n")
