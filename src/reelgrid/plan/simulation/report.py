"""Report of a comparison: answer, tables, sections of the page and JSON."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from reelgrid.plan.scenario.values import Scenario
from reelgrid.plan.simulation.experiment import US
from reelgrid.plan.simulation.result import Gauge, TimeUse
from reelgrid.plan.simulation.run import Comparison
from reelgrid.plan.simulation.statistics import IntervalEstimate, RunStatistics
from reelgrid.report.page import Chart, KeyFigure, Report, Section, colour
from reelgrid.report.table import Cell, Column, Table, number, show

_ROWS = {
    "wait_p50_s": ("wait, median", "s"),
    "wait_p95_s": ("wait, 95th percentile", "s"),
    "turnaround_p95_s": ("from arrival to completion, 95th percentile", "s"),
    "within_promise_share": ("share that waits no longer than promised", ""),
    "kept_share": ("share of leased time whose work is kept", ""),
    "idle_share": ("share of leased time without a job", ""),
    "lost_gpu_s": ("lost work", "GPU-s"),
    "redone_gpu_s": ("redone work", "GPU-s"),
    "leased_gpu_h": ("leased", "GPU-h"),
    "usd": ("cost of the leases", "$"),
    "minutes_made": ("video made", "min"),
    "minutes_published": ("video published", "min"),
    "usd_per_minute_made": ("cost of a minute made", "$"),
    "usd_per_minute_published": ("cost of a minute published", "$"),
    "minutes_per_leased_gpu_hour": ("minutes made per leased GPU-hour", ""),
}
_TIME_USES = {
    TimeUse.USEFUL: "useful work",
    TimeUse.REDONE: "redone work",
    TimeUse.LOST: "lost work",
    TimeUse.CHECKPOINTING: "writing and loading checkpoints",
    TimeUse.LOADING: "loading models",
    TimeUse.STARTING: "starting up",
    TimeUse.IDLE: "idle",
}


def simulation_report(
    scenario: Scenario, comparison: Comparison, gpus_counted: int | None
) -> Report:
    """Return the answer as text, tables, page and JSON.

    Args:
        scenario: What was simulated.
        comparison: The results.
        gpus_counted: GPUs that `plan demand` holds for the scenario; `None` if it has no answer.
    """
    answer = _answer(comparison)
    tables = [
        _variants(comparison, gpus_counted),
        _waits(comparison.with_checkpoints),
        _hours(comparison),
    ]
    return Report(
        title=f"{scenario.name}: the fleet, simulated",
        answer=answer,
        text=f"{scenario.name}: {answer}",
        tables=tables,
        key_figures=_key_figures(comparison),
        sections=_sections(comparison.with_checkpoints, scenario.description, tables),
        data=_as_json(scenario.name, comparison, gpus_counted),
    )


def _as_json(name: str, comparison: Comparison, gpus_counted: int | None) -> dict[str, Any]:
    """Return the report as JSON; the same seed gives the same text (shape: `docs/simulate.md`)."""
    without = comparison.without_checkpoints
    return {
        "scenario": name,
        "hours": comparison.experiment.horizon_us / US / 3600,
        "seed": comparison.experiment.seed,
        "num_nodes": comparison.experiment.num_nodes,
        "num_gpus": _num_gpus(comparison),
        "num_gpus_by_plan_demand": gpus_counted,
        "num_events": comparison.num_events,
        "with_checkpoints": _summary_json(comparison.with_checkpoints),
        "without_checkpoints": None if without is None else _summary_json(without),
    }


def _summary_json(summary: RunStatistics) -> dict[str, Any]:
    return {
        "num_runs": summary.num_runs,
        "num_jobs": summary.num_jobs,
        "num_finished": summary.num_finished,
        "num_unstarted": summary.num_unstarted,
        "figures": _figures_json(summary.figures),
        "by_priority": {key: _figures_json(part) for key, part in summary.by_priority.items()},
        "gpu_hours": dict(summary.gpu_hours),
        "events": dict(summary.events),
        "chart": {
            "every_s": summary.chart_every_s,
            **{gauge.name.lower(): summary.chart[:, gauge].tolist() for gauge in Gauge},
        },
        "digests": list(summary.digests),
    }


def _figures_json(figures: Mapping[str, IntervalEstimate]) -> dict[str, Any]:
    return {
        key: {"value": _known(each.value), "low": each.low, "high": each.high}
        for key, each in figures.items()
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _variants(comparison: Comparison, gpus_counted: int | None) -> Table:
    """Return the figures of both variants with their intervals."""
    given = _given(comparison)
    rows = []
    for key, (label, unit) in _ROWS.items():
        if key not in comparison.with_checkpoints.figures:
            continue
        cells: list[Cell] = [label, unit]
        for summary in given.values():
            cells += [_known(summary.figures[key].value), _interval(summary.figures[key])]
        rows.append(cells)
    columns: list[Column | str] = ["figure", "unit"]
    for title in given:
        columns += [title, "95 % interval"]
    note = _note(comparison, gpus_counted)
    return Table(title=_title(comparison), columns=columns, rows=rows, note=note)


def _given(comparison: Comparison) -> dict[str, RunStatistics]:
    """Return the variants that were simulated, by their titles."""
    without = comparison.without_checkpoints
    return {"with checkpoints": comparison.with_checkpoints} | (
        {} if without is None else {"without": without}
    )


def _title(comparison: Comparison) -> str:
    experiment, summary = comparison.experiment, comparison.with_checkpoints
    hours = experiment.horizon_us / US / 3600
    runs = "1 run" if summary.num_runs == 1 else f"mean of {summary.num_runs} runs"
    nodes, gpus = experiment.num_nodes, _num_gpus(comparison)
    what = (
        f"{number(nodes)} GPUs" if nodes == gpus else f"{number(nodes)} nodes, {number(gpus)} GPUs"
    )
    return f"{what}, {number(hours)} h, {number(round(summary.num_jobs))} jobs ({runs})"


def _note(comparison: Comparison, gpus_counted: int | None) -> str:
    summary = comparison.with_checkpoints
    lines = [
        "Every input has its likely value. Waits are those of all hours; cost is that of the leases, "
        "without energy."
    ]
    if gpus_counted is not None:
        lines.append(
            f"`plan demand` holds {number(gpus_counted)} GPUs for the busiest hour of this demand."
        )
    if summary.num_unstarted:
        lines.append(
            f"{number(summary.num_unstarted)} jobs did not start by the end; they count with their "
            "wait so far."
        )
    if summary.figures["wait_p95_s"].low is None:
        lines.append("One run of a day gives no interval; --runs 5 does.")
    return " ".join(lines)


def _interval(estimate: IntervalEstimate) -> Cell:
    if estimate.low is None or estimate.high is None:
        return None
    return (max(0.0, estimate.low), estimate.high)  # nothing here can be negative


def _waits(summary: RunStatistics) -> Table:
    """Return quantiles of the waits by priority."""
    columns = ("mean", "p50", "p90", "p95", "p99", "max")
    classes = {"all": summary.figures, **dict(reversed(list(summary.by_priority.items())))}
    return Table(
        title="Wait from arrival to the first start, with checkpoints",
        columns=["priority", *(Column(title=key, unit="s") for key in columns)],
        rows=[
            [name, *(_known(figures[f"wait_{key}_s"].value) for key in columns)]
            for name, figures in classes.items()
        ],
    )


def _hours(comparison: Comparison) -> Table:
    """Return the use of leased GPU-hours; the rows add up to the last."""
    given = _given(comparison)
    rows: list[list[Cell]] = []
    for use, label in _TIME_USES.items():
        rows.append([label])
        for summary in given.values():
            hours = summary.gpu_hours[use.name.lower()]
            rows[-1] += [hours, hours / _leased_h(summary) * 100]
    rows.append(["leased"])
    for summary in given.values():
        rows[-1] += [_leased_h(summary), 100.0]
    columns: list[Column | str] = ["use"]
    for title in given:
        columns += [Column(title=title, unit="GPU-h"), Column(title="of leased", unit="%")]
    return Table(
        title="Use of the leased GPU-hours", columns=columns, rows=rows, is_total_last=True
    )


def _leased_h(summary: RunStatistics) -> float:
    return math.fsum(summary.gpu_hours[use.name.lower()] for use in _TIME_USES) or math.nan


def _answer(comparison: Comparison) -> str:
    """Return the answer in two or three sentences: waits, output, cost, lost work."""
    figures = comparison.with_checkpoints.figures
    text = (
        f"With {number(_num_gpus(comparison))} GPUs {_waiting(figures)}. A leased GPU-hour makes "
        f"{number(figures['minutes_per_leased_gpu_hour'].value)} minutes of video; "
        f"a minute costs ${number(figures['usd_per_minute_made'].value)} as made, "
        f"${number(figures['usd_per_minute_published'].value)} as published. "
    )
    without = comparison.without_checkpoints
    if without is None:
        return text.strip()
    lost = figures["lost_gpu_s"].value / 3600
    other = without.figures["lost_gpu_s"].value / 3600
    return text + (
        f"With checkpoints, losses of nodes cost {number(lost)} GPU-hours of work; without, "
        f"{number(other)}."
    )


def _num_gpus(comparison: Comparison) -> int:
    return sum(pool.count * pool.num_gpus for pool in comparison.experiment.pools)


def _waiting(figures: Mapping[str, IntervalEstimate]) -> str:
    wait_s = figures["wait_p95_s"].value
    wait = (
        f"95 % of the clips wait at most {_span(wait_s)}"
        if wait_s
        else "95 % of the clips do not wait"
    )
    if "within_promise_share" not in figures:
        return wait
    share = figures["within_promise_share"].value
    return f"{wait}, {number(100 * share)} % no longer than promised"


def _span(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "an unknown time"
    if seconds < 120:
        return f"{number(seconds)} s"
    return f"{number(seconds / 60)} min" if seconds < 7200 else f"{number(seconds / 3600)} h"


def _key_figures(comparison: Comparison) -> list[KeyFigure]:
    labels = {
        "wait_p95_s": "95th percentile of the wait [s]",
        "kept_share": "share of leased time whose work is kept",
        "minutes_per_leased_gpu_hour": "minutes made per leased GPU-hour",
        "usd_per_minute_made": "$ per minute made",
        "usd_per_minute_published": "$ per minute published",
    }
    figures = comparison.with_checkpoints.figures
    found = [(label, figures[key].value, _interval(figures[key])) for key, label in labels.items()]
    return [
        KeyFigure(label=label, value=number(value), uncertainty=show(interval) if interval else "")
        for label, value, interval in found
    ]


def _sections(summary: RunStatistics, description: str, tables: Sequence[Table]) -> list[Section]:
    variants, waits, hours = tables
    charts = [
        _chart(summary, (Gauge.UP, Gauge.BUSY), "Ready nodes and nodes with a job", 1),
        _chart(summary, (Gauge.WAITING,), "Waiting jobs", 3),
    ]
    return [
        Section(title="The day", parts=[description, *charts] if description else charts),
        Section(title="Confidence intervals", parts=[variants]),
        Section(title="Accounts", parts=[waits, hours, _EXPLANATION]),
    ]


_EXPLANATION = (
    "Every microsecond of every node is counted once. Work is lost when its node is lost before the "
    "next checkpoint, and is then redone; useful work is work done for the first time and kept. "
    "Both variants have the same jobs and the same losses of nodes."
)


def _chart(summary: RunStatistics, gauges: Sequence[Gauge], title: str, first_colour: int) -> Chart:
    hours = [point * summary.chart_every_s / 3600 for point in range(len(summary.chart))]
    names = {Gauge.UP: "ready", Gauge.BUSY: "with a job", Gauge.WAITING: "waiting"}
    data = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": names[each],
            "x": hours,
            "y": summary.chart[:, each].tolist(),
            "line": {"color": colour(first_colour + index), "width": 2, "shape": "hv"},
        }
        for index, each in enumerate(gauges)
    ]
    most = max((max(trace["y"], default=0) for trace in data), default=0)
    layout = {
        "xaxis": {"title": {"text": "hour"}},
        "yaxis": {"rangemode": "tozero", "title": {"text": "nodes" if len(gauges) > 1 else "jobs"}},
        "showlegend": len(gauges) > 1,
    }
    return Chart(
        title=title,
        description=f"{title}, by the hour; at most {number(round(most))}.",
        figure={"data": data, "layout": layout},
    )
