"""`reelgrid plan sora-report`: the Sora compute report of March 2024, figure by figure."""

from reelgrid.cli import options
from reelgrid.cli.plan import sources
from reelgrid.cli.plan.show import check_html, show_report
from reelgrid.cli.progress import progress_shown


def sora_report(
    hardware_file: sources.HardwareFiles = None,
    models_file: sources.ModelFiles = None,
    as_json: options.Json = False,
    html: sources.Html = None,
) -> None:
    """Recompute the Sora report of March 2024.

    Its contradictions follow, then the same demand with today's models.
    """
    from reelgrid.plan.sora_report.page import recompute, sora_report

    check_html(html)
    facts = sources.read_facts(hardware_file, models_file)
    with progress_shown() as show:
        found = recompute(facts, lambda done, total: show("today's models", done, total))
    show_report(sora_report(found), "plan sora-report", as_json=as_json, html=html)
