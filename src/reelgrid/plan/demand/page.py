"""The answer to a demand as a report: answer first, then its uncertainty, then the arithmetic."""

from collections.abc import Mapping, Sequence
from typing import Any

from reelgrid.plan.demand import tables
from reelgrid.plan.demand.model import DemandAnswer
from reelgrid.plan.demand.outcome import KindOutcome
from reelgrid.plan.uncertainty import Influence, Interval, key_figure, with_interval
from reelgrid.report.page import Chart, Formula, Report, Section, colour
from reelgrid.report.table import percent, rough

_NUM_BARS = 8

_FORMULAS = """made per day    = minutes per day x share made by AI x clips made per clip kept
GPUs at work    = made per day / (24 x minutes of video per GPU-hour); at peak x peak over mean
GPUs, promised  = fewest with P(wait > promise) <= 1 - share, x GPUs a clip / availability
GPUs, without   = GPUs at work / utilisation                (a scenario without a promise)
GPUs held       = GPUs for the busiest hour of all platforms, whole
cost a month    = GPUs x price x 730.5 h + energy x price of energy, where one is given
cost a minute   = cost a month / minutes published a month
energy          = (GPUs at work x power + GPUs idle x idle power) x PUE
training        = FLOP / (dense FLOP/s of the GPU x utilisation) in GPU-hours
break-even      = cost of training / cost of a minute made"""


def sentence(answer: DemandAnswer) -> str:
    """Return the answer in three sentences."""
    totals, kinds = answer.intervals.totals, answer.intervals.kinds
    gpus = f"{next(iter(kinds))} GPUs" if len(kinds) == 1 else f"GPUs ({_shares(kinds)})"
    first = f"It takes {with_interval(totals.gpus_held)} {gpus} {_purpose(answer)}."
    cost = (
        f"Held all month they cost {with_interval(totals.usd_per_month_held, '$')}, "
        f"{with_interval(totals.usd_per_minute_held, '$')} for each minute that is published."
    )
    return f"{first} {cost} {_dependence(answer.gpus_depend_on)}"


def _purpose(answer: DemandAnswer) -> str:
    """Return what the GPUs of the answer are enough for."""
    scenario = answer.scenario
    promises = {scenario.promise_of(platform) for platform in scenario.platforms} - {None}
    if not promises:
        return "to keep up in the busiest hour"
    if len(promises) > 1:
        return "to keep every promise in the busiest hour"
    (promise,) = promises
    assert promise is not None
    return (
        f"so that in the busiest hour {percent(promise.share)} of the clips wait at most "
        f"{rough(promise.wait_s)} s"
    )


def _shares(kinds: Mapping[str, KindOutcome[Interval]]) -> str:
    """Return each kind's share of the GPUs: their middles do not add up to that of all."""
    total = sum(kind.gpus_held.likely for kind in kinds.values())
    return ", ".join(
        f"{percent(kind.gpus_held.likely / total)} {name}" for name, kind in kinds.items()
    )


def _dependence(ranked: Sequence[Influence]) -> str:
    if not ranked or ranked[0].total <= 0:
        return "No input is uncertain."
    top = ranked[0]
    return (
        f"The number of GPUs depends most on {top.name}: {percent(top.total)} of its uncertainty."
    )


def demand_report(answer: DemandAnswer) -> Report:
    """Return the answer as text, tables, page and JSON."""
    totals = answer.intervals.totals
    return Report(
        title=answer.scenario.name,
        answer=sentence(answer),
        text=f"{answer.scenario.name}: {sentence(answer)}",
        tables=[
            tables.totals_table(answer),
            tables.kinds_table(answer),
            tables.influence_table("What the number of GPUs depends on", answer.gpus_depend_on),
            tables.influence_table(
                "What the cost of a published minute depends on", answer.usd_depends_on
            ),
            tables.training_table(answer),
            *([tables.growth_table(answer)] if answer.scenario.is_growing else []),
            tables.throughputs_table(answer),
        ],
        key_figures=(
            key_figure("GPUs held", totals.gpus_held),
            key_figure("GPUs at the mean", totals.gpus_at_mean),
            key_figure("a month, held", totals.usd_per_month_held, "$"),
            key_figure("a published minute, held", totals.usd_per_minute_held, "$"),
            key_figure("Wh a published minute", totals.wh_per_minute),
        ),
        sections=_sections(answer),
        data=tables.as_json(answer),
    )


def _sections(answer: DemandAnswer) -> list[Section]:
    scenario = answer.scenario
    described = (scenario.description,) if scenario.description else ()
    found = [
        Section(
            title="The answer",
            parts=(*described, tables.totals_table(answer), tables.kinds_table(answer)),
        ),
        Section(title="How sure it is", parts=_uncertainty_parts(answer)),
    ]
    if scenario.training:
        found.append(Section(title="Training", parts=(tables.training_table(answer),)))
    if len(answer.intervals.months) > 1:
        found.append(Section(title="Growth", parts=(growth_chart(answer),)))
    found.append(
        Section(
            title="The arithmetic",
            parts=(
                Formula(text=_FORMULAS, note="docs/demand.md explains every term."),
                tables.throughputs_table(answer),
                tables.inputs_table(answer),
            ),
        )
    )
    if scenario.sources:
        found.append(Section(title="Sources", parts=scenario.sources))
    return found


def _uncertainty_parts(answer: DemandAnswer) -> tuple[str | Chart, ...]:
    if not answer.gpus_depend_on:
        return ("No input is uncertain.",)
    return (
        f"From {answer.num_draws:,} draws of all uncertain inputs.",
        enough_chart(answer),
        swing_chart(answer, "the GPUs", "GPUs held", answer.gpus_depend_on),
        swing_chart(answer, "the cost", "$ a published minute", answer.usd_depends_on),
    )


def enough_chart(answer: DemandAnswer) -> Chart:
    """Return the chance that so many GPUs are enough."""
    held = list(answer.held_percentiles)
    return Chart(
        title=f"{rough(held[49])} GPUs are enough in half of all cases, "
        f"{rough(held[89])} in nine of ten",
        description="Curve that rises from left to right: GPUs held across, chance that they are "
        "enough upwards.",
        figure={
            "data": [
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": held,
                    "y": list(range(1, 100)),
                    "line": {"color": colour(1), "width": 3},
                    "hovertemplate": "%{x:,.3s} GPUs: %{y} %<extra></extra>",
                }
            ],
            "layout": {
                "xaxis": _axis_from(held[0], held[-1]),
                "yaxis": {"title": {"text": "enough in % of cases"}, "range": [0, 100]},
                "showlegend": False,
            },
        },
    )


def _axis_from(low: float, high: float) -> dict[str, Any]:
    """Return an axis of GPUs, of powers of ten where it spans two of them."""
    title = {"title": {"text": "GPUs held"}}
    return title | ({"type": "log", "dtick": 1} if high > 100 * low else {"rangemode": "tozero"})


def swing_chart(
    answer: DemandAnswer, subject: str, unit: str, ranked: Sequence[Influence]
) -> Chart:
    """Return the result with each input low and high, the most important on top."""
    top = [one for one in ranked if one.total > 0][:_NUM_BARS]
    ordered = top[::-1]  # Plotly draws the first bar at the bottom
    if not top:
        leader = f"No uncertain input changes {subject}"
    else:
        leader = f"{percent(top[0].total)} of the uncertainty of {subject} is {top[0].name}"
    totals = answer.likely.totals
    middle = totals.gpus_held if unit == "GPUs held" else totals.usd_per_minute_held
    return Chart(
        title=leader,
        description="A bar for each input, the most important on top: the result with the input "
        "at its 10th and at its 90th percentile, all others at their likely value.",
        figure={
            "data": [
                _bars(ordered, 0, middle, "at its 10th percentile", colour(1)),
                _bars(ordered, 1, middle, "at its 90th percentile", colour(2)),
            ],
            "layout": {
                "barmode": "overlay",
                "xaxis": {"title": {"text": unit}},
                "yaxis": {"automargin": True},
            },
        },
        table=tables.influence_table(leader, ranked),
        height_px=120 + 40 * len(top),
    )


def _bars(
    ranked: Sequence[Influence], end: int, middle: float, name: str, shade: str
) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "y": [one.name for one in ranked],
        "x": [one.swing[end] - middle for one in ranked],
        "base": [middle] * len(ranked),
        "customdata": [one.swing[end] for one in ranked],
        "hovertemplate": "%{y}: %{customdata:,.4s}<extra></extra>",
        "marker": {"color": shade},
    }


def growth_chart(answer: DemandAnswer) -> Chart:
    """Return the GPUs held month by month, with their interval."""
    months = list(range(len(answer.intervals.months)))
    held = [month.gpus_held for month in answer.intervals.months]
    return Chart(
        title=f"After {months[-1]} months it takes {with_interval(held[-1])} GPUs",
        description="Line of the GPUs held by month, with a band of 80 %.",
        figure={
            "data": [
                _line("high", months, [gpus.high for gpus in held], {"width": 0}),
                _line("80 %", months, [gpus.low for gpus in held], {"width": 0})
                | {"fill": "tonexty", "fillcolor": colour(1, 0.2)},
                _line("GPUs held", months, [gpus.likely for gpus in held],
                      {"color": colour(1), "width": 3}),
            ],
            "layout": {
                "xaxis": {"title": {"text": "months from now"}},
                "yaxis": {"title": {"text": "GPUs held"}, "rangemode": "tozero"},
                "showlegend": False,
            },
        },
        table=tables.growth_table(answer),
    )  # fmt: skip


def _line(name: str, x: list[int], y: list[float], line: dict[str, Any]) -> dict[str, Any]:
    return {"type": "scatter", "mode": "lines", "name": name, "x": x, "y": y, "line": line}
