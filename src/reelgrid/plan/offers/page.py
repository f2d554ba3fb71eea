"""The choice of offers as a report: answer, uncertainty, sensitivity, arithmetic."""

import math
from collections.abc import Sequence
from typing import Any

from reelgrid.plan.offers import tables
from reelgrid.plan.offers.choice import Choice
from reelgrid.plan.offers.speeds import offer_kind
from reelgrid.report.page import Chart, Formula, KeyFigure, Report, Section, colour
from reelgrid.report.table import number
from reelgrid.units import HOURS_PER_MONTH, SECONDS_PER_HOUR

_MODEL = """\
least        sum over offers o   C[o] g[o] x[o]            x[o] whole, 0 <= x[o] <= offered leases
so that      sum over kinds k    q[k,w] y[k,w]  >= (1 + spare) r[w]        made at peak
             the same over trusted kinds        >= trusted share of it     trust
             sum over w          y[k,w]         <= sum over o of k  A[o] u g[o] x[o]
             sum over o of a provider or zone  g[o] x[o]  <= cap
             and, without any one kind in one zone, a survive_share of r[w]
with         C[o] = c (billed share + (billed start-up + load) / hours)
             A[o] = e^(-h l) h t / (e^(h t) - 1) / (1 + h s)"""

_LETTERS = (
    "x leases, g GPUs a lease, y GPUs at work, q minutes a GPU-hour, r minutes/h at peak, u "
    "utilisation, c price, h hazard, s start-up, l loading, t time between checkpoints."
)


def choice_report(choice: Choice) -> Report:
    """Return the answer as text, tables, page and JSON."""
    answer, uncertainty = tables.sentence(choice), tables.uncertainty_sentence(choice)
    leases, work = tables.leases_table(choice), tables.work_table(choice)
    sensitivity, changes = tables.sensitivity_table(choice), tables.changes_table(choice)
    comparison = tables.comparison_table(choice)
    return Report(
        title=f"Which GPUs to lease: {choice.problem.demand.title}",
        answer=answer,
        text=f"{answer}\n{uncertainty}",
        tables=[leases, work, sensitivity, changes, comparison],
        key_figures=_key_figures(choice),
        sections=[
            Section(title="What to lease", parts=[_cost_chart(choice), leases]),
            Section(title="How sure", parts=[uncertainty, _price_chart(choice), comparison]),
            Section(
                title="Sensitivity",
                parts=[
                    _sensitivity_words(choice),
                    *_sensitivity_charts(choice),
                    sensitivity,
                    changes,
                ],
            ),
            Section(
                title="The arithmetic",
                parts=[work, Formula(text=_MODEL, note=_LETTERS), _lease_words(choice)],
            ),
        ],
        data=tables.as_json(choice),
    )


def _key_figures(choice: Choice) -> list[KeyFigure]:
    costs = dict(choice.usd_per_h_by_confidence)
    low, high = (
        "infeasible" if cost is None else number(cost) for cost in (costs[0.1], costs[0.9])
    )
    month = choice.plan.usd_per_h * HOURS_PER_MONTH
    return [
        KeyFigure(label="GPUs", value=f"{choice.num_gpus:,}"),
        KeyFigure(
            label="Cost an hour",
            value=f"${number(choice.plan.usd_per_h)}",
            uncertainty=f"{low} to {high} (80 %)",
        ),
        KeyFigure(label="Cost a month", value=f"${number(month)}", uncertainty="730.5 hours"),
        KeyFigure(
            label="A minute of video",
            value=f"${number(choice.usd_per_minute)}",
            uncertainty=f"at {number(choice.minutes_per_h)} minutes/h on average",
        ),
    ]


def _cost_chart(choice: Choice) -> Chart:
    taken = [
        (usd * leases, f"{leases * offer.gpus_per_lease} x {offer.name}")
        for leases, offer, usd in zip(
            choice.plan.leases, choice.problem.offers, choice.problem.lease_usd_per_h, strict=True
        )
        if leases
    ]
    taken.sort()
    listed = "; ".join(f"{name}: ${number(usd)}" for usd, name in reversed(taken))
    return Chart(
        title="Where the money goes",
        description=f"Bars of dollars an hour, dearest first: {listed}.",
        figure=_bars([name for _, name in taken], [usd for usd, _ in taken], "$ an hour"),
        height_px=80 + 34 * len(taken),
    )


def _bars(names: Sequence[str], values: Sequence[float], unit: str, series: int = 1) -> Any:
    return {
        "data": [{
            "type": "bar", "orientation": "h", "x": values, "y": names,
            "marker": {"color": colour(series)}, "text": [f"${number(each)}" for each in values],
            "textposition": "outside", "cliponaxis": False,
            "hovertemplate": "%{y}: $%{x:,.2f}<extra></extra>",
        }],
        "layout": {
            "xaxis": {"title": {"text": unit}, "range": [0, 1.15 * max(values, default=1.0)]}
        },
    }  # fmt: skip


def _price_chart(choice: Choice) -> Chart:
    """Return what a minute costs on each offer, and whether it is leased."""
    points = []
    for workload in choice.problem.demand.workloads:
        for index, offer in enumerate(choice.problem.offers):
            usd = _usd_per_minute(choice, index, workload.name)
            if usd is not None:
                points.append((usd, f"{offer.name}", workload.name, choice.plan.leases[index] > 0))
    traces = [
        _trace(points, workload.name, position, is_leased=is_leased)
        for position, workload in enumerate(choice.problem.demand.workloads, 1)
        for is_leased in (True, False)
    ]
    names = [name for _, name in sorted({name: usd for usd, name, *_ in points}.items())]
    return Chart(
        title="What a minute of video costs on each offer, leased hours only",
        description=(
            "Dots on a logarithmic axis, one row an offer; filled dots are offers that are leased. "
            "Start-up, loading and lost work are included, idle time is not."
        ),
        figure={
            "data": [trace for trace in traces if trace["x"]],
            "layout": {"xaxis": _log_axis([usd for usd, *_ in points])},
        },
        note="Filled: leased. Limits, trust and whole leases are why the cheapest is not always taken.",
        height_px=110 + 22 * len(names),
    )


def _log_axis(values: Sequence[float]) -> dict[str, Any]:
    """Return a logarithmic axis of dollars with its ticks at 1, 2 and 5."""
    ends = (math.floor(math.log10(min(values))), math.ceil(math.log10(max(values))) + 1)
    ticks = [digit * 10.0**power for power in range(*ends) for digit in (1, 2, 5)]
    return {
        "type": "log",
        "title": {"text": "$ a minute"},
        "showgrid": True,
        "tickvals": ticks,
        "ticktext": [f"{tick:g}" for tick in ticks],
    }


def _trace(
    points: Sequence[tuple[float, str, str, bool]], workload: str, position: int, *, is_leased: bool
) -> dict[str, Any]:
    own = [point for point in points if point[2] == workload and point[3] == is_leased]
    shown = colour((position - 1) % 8 + 1)
    return {
        "type": "scatter", "mode": "markers", "name": workload if is_leased else f"{workload}, not leased",
        "x": [usd for usd, *_ in own], "y": [name for _, name, *_ in own],
        "marker": {
            "size": 10, "color": shown, "line": {"color": shown, "width": 1.5},
            "symbol": ["circle", "square", "diamond"][(position - 1) % 3] + "-open" * (not is_leased),
        },
        "hovertemplate": "%{y}: $%{x:.3g} a minute<extra></extra>",
    }  # fmt: skip


def _usd_per_minute(choice: Choice, index: int, name: str) -> float | None:
    problem = choice.problem
    rate = problem.rates.get((offer_kind(problem.offers[index]), name))
    made = (rate or 0.0) * problem.working_gpus[index]
    return problem.lease_usd_per_h[index] / made if made > 0 else None


def _sensitivity_words(choice: Choice) -> str:
    if not choice.binding:
        return "No constraint costs anything but the demand itself."
    first = choice.binding[0]
    return (
        f"The most expensive constraint is: {first.constraint}. Without it, the choice would cost "
        f"${number(first.saves_without_usd_per_h)} an hour less."
    )


def _sensitivity_charts(choice: Choice) -> list[Chart]:
    binding = list(reversed(choice.binding))
    if not binding:
        return []
    return [
        Chart(
            title="What each constraint costs",
            description="Bars of what would be saved without each constraint; see the table.",
            figure=_bars(
                [each.constraint for each in binding],
                [each.saves_without_usd_per_h for each in binding],
                "$ an hour saved without it",
                series=2,
            ),
            height_px=80 + 34 * len(binding),
        )
    ]


def _lease_words(choice: Choice) -> str:
    lease = choice.problem.demand.lease
    return (
        f"The GPUs are leased for {lease.hours:g} h and are {lease.utilisation:.0%} busy at peak; "
        f"loading takes {lease.load_s:g} s, a checkpoint is saved every {lease.checkpoint_every_s:g} s "
        f"({lease.checkpoint_every_s / SECONDS_PER_HOUR:.3g} h). Speeds are those that hold with a probability of "
        f"{choice.problem.demand.confidence:.0%}."
    )
