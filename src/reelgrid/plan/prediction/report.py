"""Reports of predictions and of refits: tables, JSON, and a page with charts."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reelgrid.plan.facts.hardware import Gpu
from reelgrid.plan.prediction.calibrate import Recalibration
from reelgrid.plan.prediction.predict import Prediction
from reelgrid.plan.prediction.workload import Workload
from reelgrid.plan.uncertainty import Interval, key_figure
from reelgrid.report.page import Chart, Formula, KeyFigure, Report, Section, colour
from reelgrid.report.table import Cell, Column, Table, show


def prediction_table(workload: Workload, gpu: Gpu, num_gpus: int, answer: Prediction) -> Table:
    """Return one prediction in full, with its sources."""
    memory = answer.memory
    rows: list[tuple[Cell, ...]] = [
        _row("time", "s", answer.seconds),
        _row("minutes of video per GPU-hour", "", answer.minutes_per_gpu_hour),
        ("share of 16-bit peak", "", answer.share_of_peak, None),
        _row("energy of the GPUs", "Wh", answer.wh),
        _row("cost", "$", answer.usd),
        ("memory per GPU", "GiB", memory.total_gib, None),
        ("  of weights", "GiB", memory.weights_gib, None),
        ("  of activations", "GiB", memory.activations_gib, None),
        ("  of the decoder", "GiB", memory.decoder_gib, None),
        ("  usable", "GiB", memory.usable_gib, None),
        ("FLOPs", "PFLOP", workload.flops / 1e15, None),
    ]
    return Table(
        title=f"{title_of(workload)} on {num_gpus} x {gpu.name}: "
        f"about {_duration(answer.seconds.likely)}",
        columns=("what", "unit", "likely", "80 % interval"),
        rows=rows,
        note="Sources: " + "\n         ".join(answer.basis),
    )


def _row(what: str, unit: str, interval: Interval | None) -> tuple[Cell, ...]:
    if interval is None:
        return what, unit, None, None
    return what, unit, interval.likely, (interval.low, interval.high)


def comparison_table(
    workload: Workload, num_gpus: int, answers: Sequence[tuple[Gpu, Prediction]]
) -> Table:
    """Return predictions of one workload on several kinds of GPU, one line each."""
    columns = (
        "GPU", Column(title="time", unit="s"), Column(title="80 %", unit="s"),
        Column(title="minutes per GPU-hour"), Column(title="of peak"),
        Column(title="memory", unit="GiB"), "fits", Column(title="energy", unit="Wh"),
        Column(title="cost", unit="$"), Column(title="80 %", unit="$"), "source",
    )  # fmt: skip
    rows = [_cells(gpu, answer) for gpu, answer in answers]
    note = "All sources of each line: --json."
    title = f"{title_of(workload)}, {num_gpus} GPUs each" if num_gpus > 1 else title_of(workload)
    return Table(title=title, columns=columns, rows=rows, note=note)


def _cells(gpu: Gpu, answer: Prediction) -> tuple[Cell, ...]:
    seconds, usd, rate = answer.seconds, answer.usd, answer.minutes_per_gpu_hour
    memory = answer.memory
    fits = "no" if not memory.fits else memory.offload.split(" (")[0] or "yes"
    return (
        gpu.name, seconds.likely, (seconds.low, seconds.high), rate.likely if rate else None,
        answer.share_of_peak, memory.total_gib, fits, answer.wh.likely,
        usd.likely if usd else None, (usd.low, usd.high) if usd else None,
        answer.basis[0].split(":")[0].split(" of ")[0].split(" on ")[0],
    )  # fmt: skip


def as_json(workload: Workload, gpu: Gpu, num_gpus: int, answer: Prediction) -> dict[str, Any]:
    """Return one prediction as JSON: the workload, the GPU, and the fields of `Prediction`."""
    return {
        "model": workload.model.name,
        "size": str(workload.size),
        "num_frames": workload.num_frames,
        "num_steps": workload.num_steps,
        "forwards_per_step": workload.forwards_per_step,
        "num_images": workload.num_images,
        "gpu": gpu.name,
        "num_gpus": num_gpus,
        "flops": workload.flops,
        **asdict(answer),
    }


def recalibration_table(found: Recalibration) -> Table:
    """Return the cross-validated errors of a refit, before and after."""
    columns = (
        "observations", "number", Column(title="median error", unit="%"),
        Column(title="90th percentile", unit="%"), Column(title="within 80 % interval", unit="%"),
        Column(title="bias", unit="%"),
    )  # fmt: skip
    rows: list[tuple[Cell, ...]] = [
        (name, each.count, 100 * each.median, 100 * each.p90, 100 * each.coverage, 100 * each.bias)
        for name, each in found.errors_by_case.items()
    ]
    note = (
        "Relative errors of the likely time. Before: a fit without your measurements. After: a fit "
        "without your measurements of the same model on the same GPU."
    )
    if not found.after:
        note += " For an error after, measure a second model or GPU."
    return Table(
        title=f"Refit with {len(found.own)} own observations", columns=columns, rows=rows, note=note
    )


def recalibration_as_json(found: Recalibration, path: Path | None) -> dict[str, Any]:
    """Return a refit as JSON: `errors` by group, `observations` of the user, and the `file`."""
    after = {guess.observation.name: guess.relative_error for guess in found.after}
    return {
        "date": found.calibration.date,
        "file": None if path is None else str(path),
        "errors": {name: asdict(each) for name, each in found.errors_by_case.items()},
        "observations": [
            {
                "model": guess.observation.workload.model.name,
                "gpu": guess.observation.stack.gpu.name,
                "size": str(guess.observation.workload.size),
                "num_frames": guess.observation.workload.num_frames,
                "num_steps": guess.observation.workload.num_steps,
                "seconds": guess.observation.seconds,
                "relative_error_before": guess.relative_error,
                "relative_error_after": after.get(guess.observation.name),
            }
            for guess in found.before
        ],
    }


def title_of(workload: Workload) -> str:
    """Return the workload in words."""
    frames = f" x {workload.num_frames}" if workload.model.kind == "video" else ""
    batch = f", batch {workload.num_images}" if workload.num_images > 1 else ""
    return (
        f"{workload.model.name}, {workload.size}{frames}, {workload.num_steps} steps x "
        f"{workload.forwards_per_step} forwards{batch}"
    )


def _duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    if seconds < 100:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 6000 else f"{seconds / 3600:.3g} h"


_FORMULA = """denoise = forwards [ F_linear/(P e_L) + F_attention/(P e_A) + passes bytes/bandwidth ] / GPUs
        + forwards [ exchange/link + layers latency ]
seconds = denoise + decoder FLOPs/rate + fixed
F       = 2 P L + 4 L^2 d N  a forward, a multiply-add counted as two"""

GpuPredictions = Sequence[tuple[Gpu, Prediction]]


def prediction_page(workload: Workload, num_gpus: int, answers: GpuPredictions) -> Report:
    """Return the page.

    Args:
        workload: What is generated.
        num_gpus: GPUs that share one generation.
        answers: The kinds of GPU with their predictions, at least one.
    """
    gpu, best = min(answers, key=lambda each: each[1].seconds.likely)
    sources = [f"{each.name}: {'; '.join(answer.basis)}." for each, answer in answers]
    return Report(
        title=title_of(workload),
        answer=_sentence(gpu, num_gpus, best),
        key_figures=_key_figures(best),
        sections=(
            Section(title="Uncertainty", parts=(_chart(answers), *sources)),
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
    )


def _sentence(gpu: Gpu, num_gpus: int, best: Prediction) -> str:
    seconds = best.seconds
    first = (
        f"It takes about {show(seconds.likely)} s on {num_gpus} x {gpu.name}; "
        f"with 80 % confidence {show(seconds.low)} to {show(seconds.high)} s."
    )
    return f"{first} Source: {best.basis[0]}."


def _key_figures(best: Prediction) -> list[KeyFigure]:
    figures = {
        "seconds": best.seconds,
        "Wh": best.wh,
        "minutes of video per GPU-hour": best.minutes_per_gpu_hour,
        "$": best.usd,
    }
    return [key_figure(label, each, shown=show) for label, each in figures.items() if each]


def _chart(answers: GpuPredictions) -> Chart:
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
