"""Predictions as a page that a manager can read: the answer, the doubt, the arithmetic.

Not here: how the page is drawn (`page`), and the tables (`predict_tables`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reelgrid.plan.hardware import Gpu
from reelgrid.plan.page import Chart, Formula, KeyFigure, Section, colour, write_page
from reelgrid.plan.predict import Interval, Prediction
from reelgrid.plan.predict_tables import comparison_table, prediction_table, title_of
from reelgrid.plan.table import show
from reelgrid.plan.workload import Workload

_FORMULA = """denoise = forwards [ F_linear/(P e_L) + F_attention/(P e_A) + passes bytes/bandwidth ] / GPUs
        + forwards [ exchange/link + layers latency ]
seconds = denoise + decoder FLOPs/rate + fixed
F       = 2 P L + 4 L^2 d N  a forward, a multiply-add counted as two"""

Answers = Sequence[tuple[Gpu, Prediction]]


def write_prediction_page(
    path: Path, workload: Workload, num_gpus: int, answers: Answers, origin: str
) -> None:
    """Write the page.

    Args:
        path: The file, overwritten.
        workload: What is made.
        num_gpus: GPUs that share one generation.
        answers: The kinds of GPU and what was predicted of each, at least one.
        origin: The command that made it.

    Raises:
        RequestError: The folder is not there, or Plotly is not installed.
    """
    gpu, best = min(answers, key=lambda each: each[1].seconds.likely)
    write_page(
        path,
        title=title_of(workload),
        answer=_sentence(gpu, num_gpus, best),
        key_figures=_key_figures(best),
        sections=(
            Section(title="How sure", parts=(_chart(answers), *_doubts(answers))),
            Section(
                title="The figures",
                parts=(
                    (comparison_table(workload, num_gpus, answers),)
                    if len(answers) > 1
                    else (prediction_table(workload, gpu, num_gpus, best),)
                ),
            ),
            Section(title="The arithmetic", parts=(Formula(text=_FORMULA),)),
        ),
        origin=origin,
    )


def _sentence(gpu: Gpu, num_gpus: int, best: Prediction) -> str:
    seconds = best.seconds
    first = (
        f"It takes about {show(seconds.likely)} s on {num_gpus} x {gpu.name}; "
        f"with 80 % confidence {show(seconds.low)} to {show(seconds.high)} s."
    )
    return f"{first} This rests on: {best.basis[0]}."


def _key_figures(best: Prediction) -> tuple[KeyFigure, ...]:
    figures = [_key("seconds", best.seconds), _key("Wh", best.wh)]
    if best.minutes_per_gpu_hour is not None:
        figures.append(_key("minutes of video per GPU-hour", best.minutes_per_gpu_hour))
    if best.usd is not None:
        figures.append(_key("$", best.usd))
    return tuple(figures)


def _key(label: str, interval: Interval) -> KeyFigure:
    return KeyFigure(
        label=label,
        value=show(interval.likely),
        doubt=f"{show(interval.low)} to {show(interval.high)}",
    )


def _chart(answers: Answers) -> Chart:
    """Return the seconds on each GPU with their intervals, the fastest on top."""
    ordered = sorted(answers, key=lambda each: -each[1].seconds.likely)
    likely = [answer.seconds.likely for _, answer in ordered]
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "markers",
        "x": likely,
        "y": [gpu.name for gpu, _ in ordered],
        "marker": {"color": colour(0), "size": 9},
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [answer.seconds.high - answer.seconds.likely for _, answer in ordered],
            "arrayminus": [answer.seconds.likely - answer.seconds.low for _, answer in ordered],
            "color": colour(0),
        },
        "hovertemplate": "%{y}: %{x:.3g} s<extra></extra>",
    }
    fastest = ordered[-1][0].name
    return Chart(
        title=f"{fastest} takes {show(likely[-1])} s",
        description="Seconds of one generation, logarithmic, with 80 % intervals, by GPU.",
        figure={
            "data": [trace],
            "layout": {"xaxis": {"type": "log", "title": {"text": "seconds"}}, "showlegend": False},
        },
        height_px=160 + 26 * len(ordered),
    )


def _doubts(answers: Answers) -> tuple[str, ...]:
    """Return what each prediction rests on, in words."""
    return tuple(f"{gpu.name}: {'; '.join(answer.basis)}." for gpu, answer in answers)
