"""The Sora compute report recomputed, as tables, as JSON and as a page."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from reelgrid.plan.facts.known import Facts
from reelgrid.plan.sora_report import calculation
from reelgrid.plan.sora_report.calculation import Figure
from reelgrid.plan.sora_report.contradictions import (
    Contradiction,
    contradictions,
    stated_total_minutes_per_day,
    unrounded_peak,
)
from reelgrid.plan.sora_report.today import ModelToday, predicted, published
from reelgrid.plan.uncertainty import Listener, with_interval
from reelgrid.report.page import Chart, Formula, KeyFigure, Report, Section, colour
from reelgrid.report.table import Cell, Column, Table, rough

_FORMULA = (
    "gpus = minutes_per_day * candidates * peak_to_mean / (24 * minutes_per_gpu_hour * utilisation)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecomputedReport:
    """The report's figures, its contradictions, and the same demand with today's models."""

    figures: tuple[Figure, ...]
    contradictions: tuple[Contradiction, ...]
    published: tuple[ModelToday, ...]
    predicted: tuple[ModelToday, ...]


def recompute(facts: Facts, listener: Listener | None = None) -> RecomputedReport:
    """Return the report, recomputed.

    Args:
        facts: What is known of models and GPUs.
        listener: Called with the number of predictions made and their total.
    """
    return RecomputedReport(
        figures=calculation.figures(),
        contradictions=contradictions(),
        published=published(facts),
        predicted=predicted(facts, listener),
    )


def figures_table(found: RecomputedReport) -> Table:
    """Return every figure with its formula, and what the report printed."""
    rows: list[list[Cell]] = [
        [
            figure.step,
            figure.formula,
            " - ".join(exact(value) for value in figure.values),
            figure.unit,
            figure.shown,
            figure.printed,
            figure.is_reproduced,
        ]
        for figure in found.figures
    ]
    printed = [figure for figure in found.figures if figure.printed]
    num_right = sum(bool(figure.is_reproduced) for figure in printed)
    return Table(
        title=f"{calculation.read_facts()['title']} (March 2024), recomputed",
        columns=("step", "formula", "value", "unit", "as printed here", "in the report", "same"),
        rows=rows,
        note=f"{num_right} of {len(printed)} printed figures come out to the last printed digit.",
    )


def exact(value: float) -> str:
    """Return a value with five digits; the largest as powers of ten."""
    if abs(value) >= 1e10:
        return f"{value:.4e}".replace("e+", "e")
    return f"{value:,.0f}" if value >= 1e3 else f"{value:.5g}"


def contradiction_table(number: int, point: Contradiction) -> Table:
    """Return the figures of one point that does not hold."""
    return Table(
        title=f"{number}. {point.title}",
        columns=("what", "formula or source", "value", "unit"),
        rows=[[line.what, line.formula, exact(line.value), line.unit] for line in point.lines],
        note=point.why + (f" Source: {point.source}." if point.source else ""),
    )


def today_table(title: str, rows: Sequence[ModelToday]) -> Table:
    """Return the GPUs that today's models take for the report's demand."""
    return Table(
        title=title,
        columns=(
            "model", "GPU", "clip", "minutes of video per GPU-hour", "GPUs at peak",
            "times the report's", Column(title="cost", unit="million $/month"),
            Column(title="power", unit="MW"), "based on",
        ),
        rows=[
            [
                row.model,
                row.gpu,
                row.clip,
                with_interval(row.minutes_per_gpu_hour),
                with_interval(row.gpus_at_peak),
                row.times_the_report,
                None if row.usd_per_month is None else rough(row.usd_per_month / 1e6),
                rough(row.mw),
                row.basis + (f"; {row.note}" if row.note else ""),
            ]
            for row in rows
        ],
        note="10.7M minutes a day, 2 clips for one kept, 2 times the mean at peak; no factor for "
        "utilisation, which a measured speed has in it. In brackets 80 % intervals.",
    )  # fmt: skip


def later_table() -> Table:
    """Return figures published since, to compare scenarios with."""
    rows = calculation.read_facts()["world"]["later"]
    return Table(
        title="Published since",
        columns=("what", "value", "source"),
        rows=[[row["what"], row["value"], row["source"]] for row in rows],
    )


def tables(found: RecomputedReport) -> list[Table]:
    """Return all tables in the order of reading."""
    return [
        figures_table(found),
        *(contradiction_table(number, each) for number, each in enumerate(found.contradictions, 1)),
        today_table("The same demand at published speeds", found.published),
        today_table("The same demand at predicted speeds", found.predicted),
        later_table(),
    ]


def as_json(found: RecomputedReport) -> dict[str, Any]:
    """Return the report with all digits, for machines."""
    facts = calculation.read_facts()
    figures = [asdict(figure) | {"is_reproduced": figure.is_reproduced} for figure in found.figures]
    return {
        "title": facts["title"],
        "constants": facts["constants"],
        "formula": _FORMULA,
        "figures": figures,
        "contradictions": [asdict(each) for each in found.contradictions],
        "published": [asdict(row) for row in found.published],
        "predicted": [asdict(row) for row in found.predicted],
        "later": facts["world"]["later"],
    }


def sentence(found: RecomputedReport) -> str:
    """Return the answer in three sentences."""
    total = stated_total_minutes_per_day()
    spread = sorted(row.gpus_at_peak.likely for row in (*found.published, *found.predicted))
    return (
        "The report's 720,000 H100s at peak follow from its own figures, step by step. With the "
        f"rates it states they would be {rough(calculation.peak_gpus(total))}, with operations counted "
        "alike twice as many. What today's models would take of the same demand lies between "
        f"{rough(spread[0])} and {rough(spread[-1])} GPUs: which model is served matters more than "
        "which GPU serves it."
    )


def sora_report(found: RecomputedReport) -> Report:
    """Return the answer as text, tables, page and JSON."""
    return Report(
        title="How many GPUs would Sora have taken?",
        answer=sentence(found),
        text=sentence(found),
        tables=tables(found),
        key_figures=_key_figures(),
        sections=_sections(found),
        data=as_json(found),
    )


def _key_figures() -> list[KeyFigure]:
    speed = calculation.values()["minutes_per_h100_hour"][0]
    with_stated_rates = rough(calculation.peak_gpus(stated_total_minutes_per_day()))
    rows = (
        ("H100s at peak, as printed", "720,000", "at 10.7M minutes a day"),
        ("with the stated rates", with_stated_rates, "at 14.95M minutes a day"),
        ("minutes of video per H100-hour", f"{speed:.2f}", "measured since: 0.19 to 150"),
        ("H100s to train it in a month", "4,200 to 10,500", "twice that, operations counted alike"),
    )
    return [KeyFigure(label=label, value=value, uncertainty=note) for label, value, note in rows]


def _sections(found: RecomputedReport) -> list[Section]:
    parts: list[str | Table | Chart | Formula] = [bounds_chart(found)]
    parts += [
        contradiction_table(number, each) for number, each in enumerate(found.contradictions, 1)
    ]
    return [
        Section(title="Contradictions", parts=parts),
        Section(
            title="Today's models and GPUs",
            parts=(
                today_chart(found),
                today_table("At published speeds", found.published),
                today_table("At predicted speeds", found.predicted),
                later_table(),
            ),
        ),
        Section(
            title="The arithmetic",
            parts=(
                Formula(
                    text=_FORMULA,
                    note=f"Nothing rounded on the way it gives {unrounded_peak().value:,.0f} for "
                    "the report's figures; the report rounds 5.03 to 5 and 89k to 90k.",
                ),
                figures_table(found),
                _constants_table(),
            ),
        ),
    ]


def _constants_table() -> Table:
    rows = calculation.read_facts()["constants"].items()
    return Table(
        title="Constants",
        columns=("name", "value", "source"),
        rows=[[name, exact(float(each["value"])), each["source"]] for name, each in rows],
    )


def bounds_chart(found: RecomputedReport) -> Chart:
    """Return H100s at peak, with each contradiction corrected in turn."""
    total = calculation.constants()["total_minutes_per_day"]
    tiktok = found.contradictions[4].lines[-1].value
    bars = [
        ("as printed", calculation.values()["h100s_at_peak"][0]),
        ("with the stated rates", calculation.peak_gpus(stated_total_minutes_per_day())),
        ("operations counted alike", 2 * calculation.peak_gpus(total)),
        ("TikTok as measured", tiktok),
    ]
    return Chart(
        title="H100s at peak: 0.72 million as printed, 0.71 to 1.76 million by what one corrects",
        description="Bars: " + ", ".join(f"{name} {rough(value)}" for name, value in bars),
        figure={
            "data": [
                {
                    "type": "bar",
                    "x": [name for name, _ in bars],
                    "y": [value for _, value in bars],
                    "text": [rough(value) for _, value in bars],
                    "marker": {"color": [colour(0), colour(1), colour(1), colour(1)]},
                }
            ],
            "layout": {"yaxis": {"title": {"text": "H100s at peak"}}, "showlegend": False},
        },
    )


def today_chart(found: RecomputedReport) -> Chart:
    """Return GPUs at peak by model and GPU, on a logarithmic axis."""
    gpus = list(dict.fromkeys(row.gpu for row in found.predicted))
    return Chart(
        title="GPUs at peak for the report's demand: the model decides, then the GPU",
        description="A point with its 80 % interval for each model and GPU; GPUs at peak across, "
        "on a logarithmic axis.",
        figure={
            "data": [
                _gpu_trace(gpu, [row for row in found.predicted if row.gpu == gpu], index)
                for index, gpu in enumerate(gpus)
            ],
            "layout": {
                "xaxis": {"title": {"text": "GPUs at peak"}, "type": "log"},
                "yaxis": {"automargin": True},
            },
        },
        height_px=440,
    )


def _gpu_trace(gpu: str, rows: Sequence[ModelToday], index: int) -> dict[str, Any]:
    peaks = [row.gpus_at_peak for row in rows]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": gpu,
        "x": [peak.likely for peak in peaks],
        "y": [row.model for row in rows],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [peak.high - peak.likely for peak in peaks],
            "arrayminus": [peak.likely - peak.low for peak in peaks],
        },
        "marker": {"color": colour(1 + index % 8), "size": 10},
    }
