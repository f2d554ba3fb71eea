"""GPUs that today's models take for the demand of the Sora compute report.

A measured or predicted speed has the real utilisation of the GPU in it, so the report's factor of 2
for that is left out: 2 clips made for one kept, 2 times the mean at peak.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from reelgrid.plan.facts.architectures import find_architecture
from reelgrid.plan.facts.hardware import Gpu, find_gpu
from reelgrid.plan.facts.known import Facts
from reelgrid.plan.prediction.calibration import read_calibration
from reelgrid.plan.prediction.predict import predict
from reelgrid.plan.prediction.workload import workload_of
from reelgrid.plan.sora_report import calculation
from reelgrid.plan.uncertainty import Interval
from reelgrid.units import HOURS_PER_MONTH


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelToday:
    """One model on one kind of GPU against the report's demand.

    Attributes:
        clip: Size and length of a clip; empty for a published speed.
        minutes_per_gpu_hour: With 80 % interval; without width for a published speed.
        gpus_at_peak: Likewise.
        times_the_report: The likely number over the report's 720,000.
        usd_per_month: Of the likely number, at the middle of public prices; `None` without a price.
        mw: Power limit of the likely number of GPUs.
        basis: What the speed is based on.
        note: Such as that the model does not fit into the memory of the GPU.
    """

    model: str
    gpu: str
    clip: str
    minutes_per_gpu_hour: Interval
    gpus_at_peak: Interval
    times_the_report: float
    usd_per_month: float | None
    mw: float
    basis: str
    note: str = ""


def published(facts: Facts) -> tuple[ModelToday, ...]:
    """Return the published speeds of `sora.toml` against the report's demand."""
    return tuple(
        _today(
            row["model"],
            find_gpu(row["gpu"], facts.hardware),
            Interval(*[float(row["minutes_per_gpu_hour"])] * 3),
            basis=f"published: {row['source']}",
        )
        for row in calculation.read_facts()["measured"]
    )


def predicted(
    facts: Facts, listener: Callable[[int, int], None] | None = None
) -> tuple[ModelToday, ...]:
    """Return the models and GPUs of `sora.toml` against the report's demand.

    Args:
        facts: What is known.
        listener: Called with the number of predictions made and their total.
    """
    asked = calculation.read_facts()["today"]
    pairs = [(model, gpu) for model in asked["models"] for gpu in asked["gpus"]]
    rows = []
    for number, (model, gpu) in enumerate(pairs, 1):
        rows.append(_predicted(model, find_gpu(gpu, facts.hardware), facts))
        if listener is not None:
            listener(number, len(pairs))
    return tuple(rows)


def _predicted(name: str, gpu: Gpu, facts: Facts) -> ModelToday:
    model = find_architecture(name, facts.architectures)
    workload = workload_of(model)
    prediction = predict(
        workload,
        gpu,
        measurements=facts.measurements,
        calibration=read_calibration(facts.calibration_file),
    )
    assert prediction.minutes_per_gpu_hour is not None  # the models are of video
    return _today(
        model.name,
        gpu,
        prediction.minutes_per_gpu_hour,
        clip=f"{workload.size}, {workload.clip_s:.1f} s, {workload.num_steps} steps",
        basis="; ".join(prediction.basis),
        note=prediction.memory.offload,
    )


def _today(
    model: str, gpu: Gpu, speed: Interval, *, clip: str = "", basis: str, note: str = ""
) -> ModelToday:
    peak = Interval(_gpus(speed.high), _gpus(speed.likely), _gpus(speed.low))
    price = gpu.usd_per_h
    return ModelToday(
        model=model,
        gpu=gpu.name,
        clip=clip,
        minutes_per_gpu_hour=speed,
        gpus_at_peak=peak,
        times_the_report=peak.likely / calculation.values()["h100s_at_peak"][0],
        usd_per_month=None if price is None else peak.likely * price * HOURS_PER_MONTH,
        mw=peak.likely * gpu.tdp_w / 1e6,
        basis=basis,
        note=note,
    )


def _gpus(minutes_per_gpu_hour: float) -> float:
    total = calculation.constants()["total_minutes_per_day"]
    gpus = calculation.peak_gpus(total, minutes_per_gpu_hour=minutes_per_gpu_hour, utilisation=1.0)
    return float(math.ceil(gpus))
