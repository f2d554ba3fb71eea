"""Prediction of a generation on a GPU: seconds, memory, energy and cost, with 80 % intervals.

The time comes from the user's own measurements of the same model and GPU, else from a published
latency of the same case, else from the calibrated formula; the prediction says which it used. A
measurement of another size or number of steps is scaled by the formula: the relative error of the
formula is taken to be the same for both.
"""

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from reelgrid.errors import RequestError
from reelgrid.measurement import BenchRecord
from reelgrid.plan.facts.architectures import Architecture, find_architecture
from reelgrid.plan.facts.hardware import Gpu, find_gpu
from reelgrid.plan.prediction.calibration import (
    OWN_SOURCE,
    Calibration,
    has_own_kernels,
    read_calibration,
)
from reelgrid.plan.prediction.formula import Case, is_unknown_software
from reelgrid.plan.prediction.memory import MemoryNeed, memory_need
from reelgrid.plan.prediction.observations import Observation, Stack, kernel_class, read_latencies
from reelgrid.plan.prediction.power import read_power
from reelgrid.plan.prediction.workload import Workload
from reelgrid.plan.uncertainty import Z_80, Interval
from reelgrid.spec import Size

_latencies = functools.cache(read_latencies)
_REPEAT_SIGMA = 0.03  # of one measurement repeated on the same machine
_SCALED_SIGMA = 0.1  # for each factor of e in FLOPs between a measurement and the case
_OTHER_GPUS_SIGMA = 0.1  # from one GPU to several
_OTHER_MACHINE_SIGMA = 0.1  # of a published latency on another machine with the same GPU


@dataclass(frozen=True, slots=True)
class Evidence:
    """A time and its source.

    Attributes:
        log_s: Logarithm of the likely seconds.
        sigma: Standard deviation of `log_s`.
        basis: The sources in words, the most important first.
    """

    log_s: float
    sigma: float
    basis: tuple[str, ...]


def from_formula(case: Case, calibration: Calibration) -> Evidence:
    """Return the time of the calibrated formula."""
    log_s, sigma = calibration.time(case)
    gpu, kernel = case.stack.gpu, case.stack.kernel
    seen = (
        "fitted on this GPU"
        if gpu.fitted_as == gpu.name
        else f"fitted on {gpu.fitted_as}, of the same rates"
    )
    if not calibration.knows(f"gpu:{gpu.fitted_as}"):
        seen = "a GPU that was never fitted"
    how = f"{kernel} attention" if kernel else "the attention kernels in use"
    refit = ", refitted with your measurements" if calibration.is_own else ""
    return Evidence(log_s, sigma, (f"formula of {calibration.date}{refit}, {seen}, {how}",))


def from_measurements(
    case: Case, records: Sequence[BenchRecord], calibration: Calibration
) -> Evidence | None:
    """Return the time by the user's measurements of the same model and GPU; `None` without any.

    Of several sizes the nearest in FLOPs counts, of its runs the median; the first of several runs
    is cold and left out.
    """
    own = [
        (record, made)
        for record in records
        if not record.is_cold
        and _is_gpu(record.machine, case.stack.gpu)
        and (made := workload_of_record(record, case.workload.model)) is not None
    ]
    if not own:
        return None
    distance = {id(record): _distance(made, case.workload) for record, made in own}
    nearest = min(distance.values())
    runs = [(record, made) for record, made in own if distance[id(record)] <= nearest + 1e-9]
    logs = [math.log(record.busy_s) for record, _ in runs]
    record, made = runs[-1]
    log_s, sigma = _scaled(case, made, statistics.median(logs), calibration)
    spread = statistics.stdev(logs) if len(logs) > 1 else 0.0
    same = "" if nearest < 1e-9 and case.stack.num_gpus == 1 else ", scaled by the formula"
    words = (
        f"measured on {record.machine} on {record.measured_at[:10]}: {record.width}x{record.height}"
        f"x{record.num_frames}, {record.num_steps} steps, {len(runs)} runs{same}"
    )
    return Evidence(log_s, math.hypot(sigma, spread), (words,))


def from_published(
    case: Case, published: Sequence[Observation] | None, calibration: Calibration
) -> Evidence | None:
    """Return the time by published latencies of the same case and number of GPUs, or `None`.

    Latencies of a compiled network count only where the case's software is `compiled`. The spread
    between sources counts by the root of their number. Where the kernel is not given on a GPU where
    it matters, the uncertainty is that of the formula.
    """
    known = _latencies() if published is None else published
    rows = [row for row in known if _is_same(row, case)]
    if not rows:
        return None
    logs = [math.log(row.seconds) for row in rows]
    spread = statistics.pstdev(logs)
    sources = dict.fromkeys(f"published: {row.source} ({row.date}), {row.note}" for row in rows)
    between = calibration.tau[case.source_effect] / math.sqrt(len({row.source for row in rows}))
    sigma = math.hypot(_OTHER_MACHINE_SIGMA, spread, between)
    if case.stack.kernel is None and has_own_kernels(case.stack.gpu):
        sigma = max(sigma, calibration.time(case)[1])
    return Evidence(statistics.mean(logs), sigma, tuple(sources))


def workload_of_record(record: BenchRecord, model: Architecture) -> Workload | None:
    """Return the workload that a record measured; `None` if it is of another model."""
    try:
        if find_architecture(record.model).name != model.name and record.model != model.name:
            return None
    except RequestError:
        if record.model != model.name:
            return None
    is_guided = record.guidance_scale > 1
    return Workload(
        model=model,
        size=Size(record.width, record.height),
        num_frames=record.num_frames,
        num_steps=record.num_steps,
        forwards_per_step=model.forwards_per_step if is_guided else 1,
        fps=record.fps,
    )


def _scaled(
    case: Case, made: Workload, log_measured_s: float, calibration: Calibration
) -> tuple[float, float]:
    """Return a measurement scaled to another case by the formula, and its standard deviation."""
    here = Stack(gpu=case.stack.gpu, kernel=case.stack.kernel, software=case.stack.software)
    log_s, sigma = calibration.time(case)
    log_made_s, _ = calibration.time(Case(made, here, source=case.source))
    repeated = math.hypot(_REPEAT_SIGMA, _SCALED_SIGMA * _distance(made, case.workload))
    if case.stack.num_gpus > 1:
        repeated = math.hypot(repeated, _OTHER_GPUS_SIGMA)
    return log_measured_s + log_s - log_made_s, min(repeated, sigma)


def _distance(one: Workload, other: Workload) -> float:
    """Return the absolute logarithm of the ratio of the FLOPs of two workloads."""
    return abs(math.log(one.flops / other.flops))


def _is_gpu(machine: str, gpu: Gpu) -> bool:
    """Return whether the machine of a record has this kind of GPU."""
    try:
        return find_gpu(machine.split(",")[0], {gpu.name: gpu}).name == gpu.name
    except RequestError:
        return False


def _is_same(row: Observation, case: Case) -> bool:
    """Return whether a published row has the workload, GPUs, kernel and software of a case."""
    work, stack = case.workload, case.stack
    return (
        row.is_whole
        and row.workload.model.name == work.model.name
        and row.stack.gpu.name == stack.gpu.name
        and row.stack.num_gpus == stack.num_gpus
        and (row.workload.size, row.workload.num_frames) == (work.size, work.num_frames)
        and row.workload.num_forwards == work.num_forwards
        and work.num_images == 1
        and (stack.kernel is None or row.stack.kernel == stack.kernel)
        and (
            row.stack.software != "compiled"
            if stack.software is None
            else row.stack.software == stack.software
        )
    )


_LOW_BIT_OVER_PEAK = 2.0  # 8-bit matrix rates are twice the 16-bit ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Time, memory, energy and cost of one generation.

    Attributes:
        seconds: From prompt to frames, the model loaded.
        sigma: Standard deviation of the logarithm of `seconds`.
        minutes_per_gpu_hour: Minutes of video per hour of one GPU; `None` for images.
        share_of_peak: FLOPs over the 16-bit peak of the GPUs in `seconds`.
        memory: Device memory of each GPU.
        wh: Energy of the GPUs.
        usd: Cost at the prices of the GPU; `None` where no price is known.
        basis: The sources in words, the most important first.
    """

    seconds: Interval
    sigma: float
    minutes_per_gpu_hour: Interval | None
    share_of_peak: float
    memory: MemoryNeed
    wh: Interval
    usd: Interval | None
    basis: tuple[str, ...]


def predict(
    workload: Workload,
    gpu: Gpu,
    *,
    num_gpus: int = 1,
    kernel: str | None = None,
    software: str | None = None,
    measurements: Sequence[BenchRecord] = (),
    published: Sequence[Observation] | None = None,
    calibration: Calibration | None = None,
) -> Prediction:
    """Return time, memory, energy and cost of a generation.

    What does not fit into the GPU's memory is predicted all the same, with `memory.fits` false.

    Args:
        workload: What is generated.
        gpu: The kind of GPU.
        num_gpus: GPUs that work on one generation together, 1 to 1,024.
        kernel: The attention kernel, such as `sdpa` or `fa3`; with `None` portable and native ones
            are weighted as published runs used them.
        software: The serving software, such as `diffusers` or `sglang`.
        measurements: The user's own; those of the same model and GPU take precedence.
        published: Published latencies; by default the package's.
        calibration: Coefficients of the formula; by default the package's.

    Raises:
        RequestError: The kernel is unknown, or the number of GPUs out of range.
    """
    stack = Stack(
        gpu=gpu,
        num_gpus=num_gpus,
        kernel=kernel_class(kernel),
        software=software.lower() if software else None,
    )
    memory, offload = memory_need(workload, gpu, num_gpus)
    case = Case(workload, replace(stack, offload=offload), source=OWN_SOURCE)
    fitted = calibration or read_calibration()
    evidence = (
        from_measurements(case, measurements, fitted)
        or from_published(case, published, fitted)
        or from_formula(case, fitted)
    )
    seconds = _interval(case, evidence)
    return Prediction(
        seconds=seconds,
        sigma=evidence.sigma,
        minutes_per_gpu_hour=_minutes_per_gpu_hour(workload, seconds, num_gpus),
        share_of_peak=workload.flops / (seconds.likely * gpu.dense_tflops * 1e12 * num_gpus),
        memory=memory,
        wh=_energy(case, seconds, evidence.sigma, fitted),
        usd=_cost(gpu, seconds, num_gpus),
        basis=(*evidence.basis, *_notes(case, memory)),
    )


def check_fits(workload: Workload, gpu: Gpu, prediction: Prediction) -> None:
    """Refuse a generation that does not fit into the memory of the GPU in any way.

    Raises:
        RequestError: It does not fit; the message says how much is missing.
    """
    memory = prediction.memory
    if not memory.fits:
        raise RequestError(
            f"{workload.model.name} at {workload.size} x {workload.num_frames} does not fit on "
            f"{gpu.name}: {memory.total_gib:.1f} GiB needed even with weights on the host, "
            f"{memory.usable_gib:.1f} usable; take a larger GPU or fewer pixels or frames",
            param="gpu",
        )


def _interval(case: Case, evidence: Evidence) -> Interval:
    """Return the 80 % interval of the seconds, cut off below the time at 100 % of the peak."""
    stack = case.stack
    floor_s = case.workload.flops / (stack.gpu.dense_tflops * 1e12 * stack.num_gpus)
    if stack.kernel == "low-bit":
        floor_s /= _LOW_BIT_OVER_PEAK
    likely = max(math.exp(evidence.log_s), floor_s)
    spread = math.exp(Z_80 * evidence.sigma)
    return Interval(max(likely / spread, min(floor_s, likely)), likely, likely * spread)


def _minutes_per_gpu_hour(workload: Workload, seconds: Interval, num_gpus: int) -> Interval | None:
    rate = workload.clip_s * 60 / num_gpus
    if not rate:
        return None
    return Interval(rate / seconds.high, rate / seconds.likely, rate / seconds.low)


def _energy(case: Case, seconds: Interval, sigma: float, calibration: Calibration) -> Interval:
    """Return the energy of the GPUs; the interval joins the variances of time and of power."""
    stack, power = case.stack, read_power()
    load = 1.0
    if stack.num_gpus > 1:
        alone_log_s, _ = calibration.time(replace(case, stack=replace(stack, num_gpus=1)))
        load = min(1.0, math.exp(alone_log_s) / (seconds.likely * stack.num_gpus))
    watts = power.watts(stack.gpu.tdp_w, stack.num_gpus, load)
    spread = math.exp(Z_80 * math.hypot(sigma, power.sigma_of(stack.gpu.name)))
    likely = watts * seconds.likely / 3600
    return Interval(likely / spread, likely, likely * spread)


def _cost(gpu: Gpu, seconds: Interval, num_gpus: int) -> Interval | None:
    """Return the cost: the low end is the lowest price times the shortest time."""
    if gpu.usd_per_h_low is None or gpu.usd_per_h_high is None or gpu.usd_per_h is None:
        return None
    hours = seconds.times(num_gpus / 3600)
    return Interval(
        hours.low * gpu.usd_per_h_low,
        hours.likely * gpu.usd_per_h,
        hours.high * gpu.usd_per_h_high,
    )


def _notes(case: Case, memory: MemoryNeed) -> tuple[str, ...]:
    """Return remarks for the reader: no bf16, unknown software, offloading, too little memory."""
    gpu, notes = case.stack.gpu, []
    if gpu.bf16_dense_tflops is None:
        notes.append(f"{gpu.name} has no bf16: fp16 rates, where some models overflow")
    if is_unknown_software(case.stack.software):
        notes.append(f"nothing is known of {case.stack.software}: predicted as any software")
    if memory.offload:
        notes.append(memory.offload)
    if not memory.fits:
        notes.append(
            f"does not fit: {memory.total_gib:.0f} GiB needed, {memory.usable_gib:.0f} usable"
        )
    return tuple(notes)
