"""The answer to a demand as tables and as JSON."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from reelgrid.plan.demand.model import DemandAnswer
from reelgrid.plan.demand.throughput import PredictedSpeed, Throughput, ThroughputKey
from reelgrid.plan.uncertainty import Influence, Quantity, with_interval
from reelgrid.report.table import Cell, Column, Table, percent, rough

_NUM_RANKED = 8
_MAX_MONTHS = 12
_INTERVALS = "In brackets 80 % intervals: one time in ten it is less, one time in ten more."


def totals_table(answer: DemandAnswer) -> Table:
    """Return what the whole demand takes."""
    lines = [
        ("video published a day", "minutes_kept_per_day", "minutes"),
        ("video made for it a day", "minutes_made_per_day", "minutes"),
        ("GPUs held, for the busiest hour", "gpus_held", "GPUs"),
        ("GPUs for an hour of mean demand", "gpus_at_mean", "GPUs"),
        ("cost, fleet held", "usd_per_month_held", "$ a month"),
        ("cost, fleet held", "usd_per_minute_held", "$ a minute"),
        ("cost, fleet follows demand", "usd_per_month_following", "$ a month"),
        ("cost, fleet follows demand", "usd_per_minute_following", "$ a minute"),
        ("power at peak", "kw_at_peak", "kW"),
        ("energy", "mwh_per_month", "MWh a month"),
        ("energy", "wh_per_minute", "Wh a minute"),
    ]
    if answer.scenario.energy.kg_co2_per_kwh is not None:
        lines.append(("emissions", "kg_co2_per_month", "kg CO2 a month"))
    spread, plain = answer.intervals.totals, answer.likely.totals
    return Table(
        title=answer.scenario.name,
        columns=("what", "how much", "with likely inputs", "unit"),
        rows=[
            [words, with_interval(getattr(spread, key)), rough(getattr(plain, key)), unit]
            for words, key, unit in lines
        ],
        note=f"A minute is one that is published. {_INTERVALS} The middle of a result is not the "
        f"result of likely inputs, nor do middles add up. {_how_counted(answer)}",
    )


def _how_counted(answer: DemandAnswer) -> str:
    """Return how GPUs are counted, and what the other count, by averages, would say."""
    if not has_promise(answer):
        return "GPUs are counted by averages, with the scenario's utilisation: nothing is promised."
    totals = answer.intervals.totals
    return (
        "GPUs are counted by queueing, so that the promise holds; by averages with the scenario's "
        f"utilisation it would be {with_interval(totals.gpus_at_peak_by_averages)} in the busiest hour, "
        f"{with_interval(totals.gpus_at_mean_by_averages)} at the mean."
    )


def has_promise(answer: DemandAnswer) -> bool:
    """Return whether any clip is promised to begin in time: then GPUs are counted by queueing."""
    scenario = answer.scenario
    return any(scenario.promise_of(platform) for platform in scenario.platforms)


def kinds_table(answer: DemandAnswer) -> Table:
    """Return what it takes of each kind of GPU."""
    rows = [
        [
            name,
            with_interval(kind.minutes_per_gpu_hour),
            with_interval(kind.gpus_held),
            with_interval(kind.gpus_at_mean),
            percent(kind.busy_share_held.likely),
            with_interval(kind.usd_per_h),
            with_interval(kind.usd_per_month_held),
        ]
        for name, kind in answer.intervals.kinds.items()
    ]
    return Table(
        title="GPUs by kind",
        columns=(
            "GPU",
            "minutes of video per GPU-hour",
            "GPUs held",
            "GPUs at the mean",
            "busy if held",
            Column(title="price", unit="$/GPU-h"),
            Column(title="cost, held", unit="$/month"),
        ),
        rows=rows,
    )


def influence_table(title: str, ranked: Sequence[Influence]) -> Table:
    """Return what a result depends on most."""
    rows: list[list[Cell]] = [
        [one.name, percent(one.first), percent(one.total), rough(one.swing[0]), rough(one.swing[1])]
        for one in ranked[:_NUM_RANKED]
        if one.total > 0
    ]
    return Table(
        title=title,
        columns=("input", "alone", "with others", "at its 10th percentile", "at its 90th"),
        rows=rows,
        note="Share of the variance of the logarithm (Sobol indices, first and total order); "
        "then the result with this input low and high and all others likely.",
    )


def training_table(answer: DemandAnswer) -> Table:
    """Return what training takes."""
    runs = {run.name: run for run in answer.scenario.training}
    return Table(
        title="Training",
        columns=(
            "model", "GPU", "GPU-hours", "GPUs", "days", Column(title="cost", unit="$"),
            Column(title="energy", unit="MWh"), "break-even, minutes made", "break-even, days",
        ),
        rows=[
            [
                name,
                runs[name].gpu,
                *(
                    with_interval(getattr(run, key))
                    for key in ("gpu_hours", "num_gpus", "days", "usd", "mwh",
                                "break_even_minutes_made", "break_even_days")
                ),
            ]
            for name, run in answer.intervals.training.items()
        ],
        note="Break-even: when serving has cost as much as the training, fleet following demand.",
    )  # fmt: skip


def growth_table(answer: DemandAnswer) -> Table:
    """Return GPUs and cost month by month, at most some twelve rows."""
    every = math.ceil((len(answer.intervals.months) - 1) / _MAX_MONTHS) or 1
    shown = list(enumerate(answer.intervals.months))[::every]
    return Table(
        title="Growth",
        columns=(
            "month",
            Column(title="published", unit="minutes a day"),
            "GPUs held",
            Column(title="cost, held", unit="$/month"),
            Column(title="cost, held", unit="$/minute"),
        ),
        rows=[
            [
                number,
                with_interval(month.minutes_kept_per_day),
                with_interval(month.gpus_held),
                with_interval(month.usd_per_month_held),
                with_interval(month.usd_per_minute_held),
            ]
            for number, month in shown
        ],
        note="Counted as above, month by month; month 0 is the answer above.",
    )


def throughputs_table(answer: DemandAnswer) -> Table:
    """Return what each kind of clip takes on each kind of GPU, inputs at their likely values."""
    return Table(
        title="What a clip takes",
        columns=(
            "platform", "model", "GPU", Column(title="clip", unit="s"),
            Column(title="time", unit="s"), "minutes of video per GPU-hour", "based on",
        ),
        rows=[_throughput_row(answer, key, each) for key, each in answer.throughputs.items()],
        note="; ".join(notes(answer)),
    )  # fmt: skip


def notes(answer: DemandAnswer) -> list[str]:
    """Return what a reader has to know of the clips, each once."""
    return list(dict.fromkeys(note for each in answer.throughputs.values() for note in each.notes))


def _throughput_row(answer: DemandAnswer, key: ThroughputKey, made: Throughput) -> list[Cell]:
    clip_s, rate = made.clip_s.quantity.likely, made.likely_rate
    return [
        answer.scenario.platforms[key[0]].name,
        made.model,
        made.gpu.name + (f" x {made.gpus_per_clip}" if made.gpus_per_clip > 1 else ""),
        clip_s,
        rough(clip_s * 60 / (rate * made.gpus_per_clip)),
        rough(rate),
        "; ".join(made.basis),
    ]


def inputs_table(answer: DemandAnswer) -> Table:
    """Return every input as the scenario has it."""
    return Table(
        title="Inputs",
        columns=("input", "value"),
        rows=[[name, _input_words(name, value)] for name, value in answer.inputs.items()],
        note="low / likely / high is a triangular distribution; a log-normal is given by its "
        "median and the factor that two thirds stay within.",
    )


def _input_words(name: str, quantity: Quantity) -> str:
    if name.endswith(".speed") and not quantity.is_exact:
        return "predicted, with the prediction's own uncertainty"
    return str(quantity)


def as_json(answer: DemandAnswer) -> dict[str, Any]:
    """Return the answer with all digits, for machines."""
    return {
        "scenario": answer.scenario.name,
        "seed": answer.seed,
        "num_draws": answer.num_draws,
        "intervals": asdict(answer.intervals),
        "likely": asdict(answer.likely),
        "held_percentiles": list(answer.held_percentiles),
        "gpus_depend_on": [asdict(one) for one in answer.gpus_depend_on],
        "usd_depends_on": [asdict(one) for one in answer.usd_depends_on],
        "throughputs": [
            _throughput_json(answer, key, each) for key, each in answer.throughputs.items()
        ],
        "inputs": {name: _quantity_json(each) for name, each in answer.inputs.items()},
        "notes": notes(answer),
    }


def _throughput_json(answer: DemandAnswer, key: ThroughputKey, made: Throughput) -> dict[str, Any]:
    return {
        "platform": answer.scenario.platforms[key[0]].name,
        "model": made.model,
        "gpu": made.gpu.name,
        "gpus_per_clip": made.gpus_per_clip,
        "clip_s": made.clip_s.quantity.likely,
        "minutes_per_gpu_hour": made.likely_rate,
        "sigma": made.speed.sigma if isinstance(made.speed, PredictedSpeed) else 0.0,
        "power_w": made.power_w,
        "basis": list(made.basis),
    }


def _quantity_json(quantity: Quantity) -> dict[str, float]:
    values = {key: float(value) for key, value in asdict(quantity).items()}
    return {key: value for key, value in values.items() if value != float("inf")}
