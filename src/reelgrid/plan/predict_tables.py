"""Predictions as tables: one in full, several side by side.

Not here: the predictions (`predict`), and how tables are drawn.
"""

from collections.abc import Sequence

from reelgrid.plan.hardware import Gpu
from reelgrid.plan.predict import Interval, Prediction
from reelgrid.plan.table import Cell, Column, Table
from reelgrid.plan.workload import Workload


def prediction_table(workload: Workload, gpu: Gpu, num_gpus: int, answer: Prediction) -> Table:
    """Return everything that one prediction says, and what it rests on."""
    memory = answer.memory
    rows: list[tuple[Cell, ...]] = [
        _row("time", "s", answer.seconds),
        _row("minutes of video per GPU-hour", "", answer.minutes_per_gpu_hour),
        ("share of 16-bit peak", "", answer.share_of_peak, None),
        _row("energy of the GPUs", "Wh", answer.wh),
        _row("cost", "$", answer.usd),
        ("memory a GPU", "GiB", memory.total_gib, None),
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
        note="Rests on: " + "\n          ".join(answer.basis),
    )


def _row(what: str, unit: str, interval: Interval | None) -> tuple[Cell, ...]:
    if interval is None:
        return what, unit, None, None
    return what, unit, interval.likely, (interval.low, interval.high)


def comparison_table(
    workload: Workload, num_gpus: int, answers: Sequence[tuple[Gpu, Prediction]]
) -> Table:
    """Return predictions of one workload on several kinds of GPU, a line each."""
    columns = (
        "GPU", Column(title="time", unit="s"), Column(title="80 %", unit="s"),
        Column(title="minutes per GPU-hour"), Column(title="of peak"),
        Column(title="memory", unit="GiB"), "fits", Column(title="energy", unit="Wh"),
        Column(title="cost", unit="$"), Column(title="80 %", unit="$"), "rests on",
    )  # fmt: skip
    rows = [_cells(gpu, answer) for gpu, answer in answers]
    note = "Everything that each line rests on: --json."
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


def title_of(workload: Workload) -> str:
    """Return what is made, in words."""
    frames = f" x {workload.num_frames}" if workload.model.kind == "video" else ""
    batch = f", batch {workload.num_images}" if workload.num_images > 1 else ""
    return (
        f"{workload.model.name}, {workload.size}{frames}, {workload.num_steps} steps x "
        f"{workload.forwards_per_step} forwards{batch}"
    )


def _duration(seconds: float) -> str:
    """Return a time span as people write it."""
    if seconds < 100:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 6000 else f"{seconds / 3600:.3g} h"
