"""How long a generation takes on a GPU, what memory and energy, and how sure that is.

Not here: the FLOPs (`flops`), the memory need (`memory`) and the fitted efficiencies
(`calibration`) that this is made of, and how many GPUs a demand needs (`demand`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from reelgrid.measurement import BenchRecord
from reelgrid.plan.hardware import Gpu
from reelgrid.plan.workload import Workload, workload_of

__all__ = [
    "Interval",
    "MemoryNeed",
    "Prediction",
    "Workload",
    "predict",
    "total_flops",
    "workload_of",
]

Z_80 = 1.2815515594600038
"""Standard normal deviate of the 90th percentile: between -z and z lie 80 %."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An 80 % interval: the 10th, 50th and 90th percentile."""

    low: float
    likely: float
    high: float

    def __post_init__(self) -> None:
        assert self.low <= self.likely <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryNeed:
    """Device memory of a generation in GiB, a GPU.

    Attributes:
        weights_gib: Of the parts that are on the device at the same time.
        activations_gib: Of the denoising network at work.
        decoder_gib: Of decoding the latents.
        total_gib: The largest sum that is needed at once.
        usable_gib: What the GPU has for it.
        offload: What has to leave the device for it to fit, in words; empty if nothing.
    """

    weights_gib: float
    activations_gib: float
    decoder_gib: float
    total_gib: float
    usable_gib: float
    offload: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a generation takes.

    Attributes:
        seconds: From prompt to frames, the model loaded.
        sigma: Standard deviation of the logarithm of `seconds`.
        minutes_per_gpu_hour: Minutes of video an hour of one GPU; none for images.
        share_of_peak: FLOPs over what the GPUs could have done in `seconds`.
        memory: Device memory of each GPU.
        wh: Energy of the GPUs.
        usd: At the prices of the GPU; none where none is known.
        basis: What it rests on, in words, the most important first.
    """

    seconds: Interval
    sigma: float
    minutes_per_gpu_hour: Interval | None
    share_of_peak: float
    memory: MemoryNeed
    wh: Interval
    usd: Interval | None
    basis: tuple[str, ...]


def total_flops(workload: Workload) -> float:
    """Return the FLOPs of the denoising network over all steps, the whole batch."""
    return workload.flops


def predict(
    workload: Workload,
    gpu: Gpu,
    *,
    num_gpus: int = 1,
    kernel: str | None = None,
    measurements: Sequence[BenchRecord] = (),
) -> Prediction:
    """Return what a generation takes.

    Args:
        workload: What is made.
        gpu: On which GPU.
        num_gpus: How many of it work on one generation together.
        kernel: The attention kernel; the usual one of this GPU where none is given.
        measurements: The user's own; those of the same model and GPU come before the formula.

    Raises:
        RequestError: It cannot be.
    """
    efficiency = 0.4 * (0.85 if num_gpus > 1 else 1.0)
    likely = workload.flops / (gpu.dense_tflops * 1e12 * efficiency * num_gpus)
    return _prediction(workload, gpu, num_gpus, likely, 0.3)


def _prediction(
    workload: Workload, gpu: Gpu, num_gpus: int, likely: float, sigma: float
) -> Prediction:
    spread = math.exp(Z_80 * sigma)
    seconds = Interval(likely / spread, likely, likely * spread)
    joules = gpu.tdp_w * 0.9 * num_gpus

    def scaled(factor: float) -> Interval:
        return Interval(seconds.low * factor, seconds.likely * factor, seconds.high * factor)

    rate = workload.clip_s * 60 / num_gpus
    price = gpu.usd_per_h
    weights = workload.model.params_b * 2e9 / 2**30
    return Prediction(
        seconds=seconds,
        sigma=sigma,
        minutes_per_gpu_hour=Interval(
            rate / seconds.high, rate / seconds.likely, rate / seconds.low
        )
        if rate
        else None,
        share_of_peak=workload.flops / (likely * gpu.dense_tflops * 1e12 * num_gpus),
        memory=MemoryNeed(
            weights_gib=weights,
            activations_gib=2.0,
            decoder_gib=2.0,
            total_gib=weights + 4.0,
            usable_gib=gpu.memory_gb * 0.95,
            offload="",
        ),
        wh=scaled(joules / 3600),
        usd=scaled(price * num_gpus / 3600) if price else None,
        basis=("formula",),
    )
