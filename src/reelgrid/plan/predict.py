"""How long a generation takes on a GPU, what memory and energy, and how sure that is.

A user's own measurements come before published ones, those before the formula; the answer says which
it used. Not here: the FLOPs (`flops`), the memory need (`memory`) and the fitted efficiencies
(`calibration`) that this is made of, and how many GPUs a demand needs (`demand`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from reelgrid.measurement import BenchRecord
from reelgrid.plan.calibration import read_calibration
from reelgrid.plan.calibration_formula import Case
from reelgrid.plan.calibration_software import is_unheard_of
from reelgrid.plan.evidence import Evidence, from_formula, from_measurements, from_published
from reelgrid.plan.hardware import Gpu
from reelgrid.plan.latencies import Observation, Stack, kernel_class
from reelgrid.plan.memory import MemoryNeed, memory_need
from reelgrid.plan.power import read_power
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

_LOW_BIT_OVER_PEAK = 2.0  # 8-bit matrix rates are twice the 16-bit ones


@dataclass(frozen=True, slots=True)
class Interval:
    """An 80 % interval: the 10th, 50th and 90th percentile."""

    low: float
    likely: float
    high: float

    def __post_init__(self) -> None:
        assert self.low <= self.likely <= self.high

    def times(self, factor: float) -> "Interval":
        """Return the interval in another unit; `factor` is positive."""
        return Interval(self.low * factor, self.likely * factor, self.high * factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a generation takes.

    Attributes:
        seconds: From prompt to frames, the model loaded.
        sigma: Standard deviation of the logarithm of `seconds`.
        minutes_per_gpu_hour: Minutes of video an hour of one GPU; none for images.
        share_of_peak: FLOPs over what the GPUs could have done in `seconds` at 16 bits.
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
    software: str | None = None,
    measurements: Sequence[BenchRecord] = (),
    published: Sequence[Observation] | None = None,
) -> Prediction:
    """Return what a generation takes.

    What does not fit into the GPU's memory is told all the same, with `memory.fits` false.

    Args:
        workload: What is made.
        gpu: On which GPU.
        num_gpus: How many of it work on one generation together, 1 to 1,024.
        kernel: The attention kernel, such as `sdpa` or `fa3`; where none is given, those in use on
            this GPU with even chances.
        software: The serving software, such as `diffusers` or `sglang`.
        measurements: The user's own; those of the same model and GPU come before all else.
        published: Published latencies; the package's where none are given.

    Raises:
        RequestError: The kernel is unknown, or the number of GPUs out of range.
    """
    alone = Stack(
        gpu=gpu,
        num_gpus=num_gpus,
        kernel=kernel_class(kernel),
        software=software.lower() if software else None,
    )
    memory, offload = memory_need(workload, gpu, num_gpus)
    stack = replace(alone, offload=offload)
    case = Case(workload, stack)
    evidence = (
        from_measurements(case, measurements)
        or from_published(case, published)
        or from_formula(case)
    )
    floor_s = workload.flops / (gpu.dense_tflops * 1e12 * num_gpus)
    if stack.kernel == "low-bit":
        floor_s /= _LOW_BIT_OVER_PEAK
    seconds = _interval(evidence, floor_s)
    rate = workload.clip_s * 60 / num_gpus
    return Prediction(
        seconds=seconds,
        sigma=evidence.sigma,
        minutes_per_gpu_hour=(
            Interval(rate / seconds.high, rate / seconds.likely, rate / seconds.low)
            if rate
            else None
        ),
        share_of_peak=workload.flops / (seconds.likely * gpu.dense_tflops * 1e12 * num_gpus),
        memory=memory,
        wh=_energy(case, seconds, evidence.sigma),
        usd=_cost(gpu, seconds, num_gpus),
        basis=(*evidence.basis, *_notes(case, memory)),
    )


def _interval(evidence: Evidence, floor_s: float) -> Interval:
    """Return the 80 % interval; nothing in it is faster than the peak allows."""
    likely = max(math.exp(evidence.log_s), floor_s)
    spread = math.exp(Z_80 * evidence.sigma)
    return Interval(max(likely / spread, min(floor_s, likely)), likely, likely * spread)


def _energy(case: Case, seconds: Interval, sigma: float) -> Interval:
    """Return the energy of the GPUs; the doubt of time and of power together."""
    stack, power = case.stack, read_power()
    load = 1.0
    if stack.num_gpus > 1:
        alone_log_s, _ = read_calibration().time(replace(case, stack=replace(stack, num_gpus=1)))
        load = min(1.0, math.exp(alone_log_s) / (seconds.likely * stack.num_gpus))
    watts = power.watts(stack.gpu.tdp_w, stack.num_gpus, load)
    spread = math.exp(Z_80 * math.hypot(sigma, power.sigma_of(stack.gpu.name)))
    likely = watts * seconds.likely / 3600
    return Interval(likely / spread, likely, likely * spread)


def _cost(gpu: Gpu, seconds: Interval, num_gpus: int) -> Interval | None:
    """Return the cost: low is the lowest price and the shortest time, high the opposite."""
    if gpu.usd_per_h_low is None or gpu.usd_per_h_high is None or gpu.usd_per_h is None:
        return None
    hours = seconds.times(num_gpus / 3600)
    return Interval(
        hours.low * gpu.usd_per_h_low,
        hours.likely * gpu.usd_per_h,
        hours.high * gpu.usd_per_h_high,
    )


def _notes(case: Case, memory: MemoryNeed) -> tuple[str, ...]:
    """Return what a reader has to know beside the figures."""
    gpu, notes = case.stack.gpu, []
    if gpu.bf16_dense_tflops is None:
        notes.append(f"{gpu.name} has no bf16: fp16 rates, where some models overflow")
    if is_unheard_of(case.stack.software):
        notes.append(f"nothing is known of {case.stack.software}: as of any software")
    if memory.offload:
        notes.append(memory.offload)
    if not memory.fits:
        notes.append(
            f"does not fit: {memory.total_gib:.0f} GiB needed, {memory.usable_gib:.0f} usable"
        )
    return tuple(notes)
