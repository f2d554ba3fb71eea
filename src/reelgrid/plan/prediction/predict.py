"""How long a generation takes on a GPU, what memory and energy, and how sure that is.

A user's own measurements come before published ones, those before the formula; the answer says which
it used. Not here: the FLOPs (`workload`), the memory need (`memory`) and the fitted efficiencies
(`calibration`) that this is made of, and how many GPUs a demand needs (`model`).

What a time rests on: a user's own measurement, a published one, or the formula, in that order.

A measurement of another size or number of steps is carried over by the formula: what the formula
gets wrong for a model on a GPU, it gets wrong for both. Not here: what is made of a time
(`predict`).
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
from reelgrid.plan.prediction.calibration import has_own_kernels, read_calibration
from reelgrid.plan.prediction.formula import Case, is_unheard_of
from reelgrid.plan.prediction.memory import MemoryNeed, memory_need
from reelgrid.plan.prediction.observations import Observation, Stack, kernel_class, read_latencies
from reelgrid.plan.prediction.power import read_power
from reelgrid.plan.prediction.workload import Workload
from reelgrid.plan.uncertainty import Z_80, Interval
from reelgrid.spec import Size

_REPEAT_SIGMA = 0.03  # of one measurement repeated on the same machine
_CARRIED_SIGMA = 0.1  # for each factor of e in FLOPs that a measurement is carried over
_OTHER_GPUS_SIGMA = 0.1  # from one GPU to several
_OTHER_MACHINE_SIGMA = 0.1  # of a published figure on a machine of one's own


@dataclass(frozen=True, slots=True)
class Evidence:
    """A time and what it rests on.

    Attributes:
        log_s: Logarithm of the likely seconds.
        sigma: Its standard deviation.
        basis: In words, the most important first.
    """

    log_s: float
    sigma: float
    basis: tuple[str, ...]


def from_formula(case: Case) -> Evidence:
    """Return what the calibrated formula says."""
    calibration = read_calibration()
    log_s, sigma = calibration.time(case)
    gpu, kernel = case.stack.gpu, case.stack.kernel
    seen = (
        "fitted on this GPU"
        if gpu.fitted_as == gpu.name
        else f"fitted on {gpu.fitted_as}, of the same rates"
    )
    if not calibration.knows(f"gpu:{gpu.fitted_as}"):
        seen = "GPU never seen"
    how = f"{kernel} attention" if kernel else "the attention kernels in use"
    return Evidence(log_s, sigma, (f"formula of {calibration.date}, {seen}, {how}",))


def from_measurements(case: Case, records: Sequence[BenchRecord]) -> Evidence | None:
    """Return what the user measured of the same model on the same kind of GPU; none without any.

    Of several sizes the nearest in FLOPs counts, of its runs the median; a first run of several is
    cold and left out.
    """
    own = [
        (record, made)
        for record in records
        if not (record.run == 1 and record.num_runs > 1)
        and _is_gpu(record.machine, case.stack.gpu)
        and (made := workload_of_record(record, case.workload.model)) is not None
    ]
    if not own:
        return None
    apart = {id(record): _apart(made, case.workload) for record, made in own}
    nearest = min(apart.values())
    runs = [(record, made) for record, made in own if apart[id(record)] <= nearest + 1e-9]
    logs = [_log_seconds(record) for record, _ in runs]
    record, made = runs[-1]
    log_s, sigma = _carried(case, made, statistics.median(logs))
    spread = statistics.stdev(logs) if len(logs) > 1 else 0.0
    same = "" if nearest < 1e-9 and case.stack.num_gpus == 1 else ", carried over by the formula"
    words = (
        f"measured on {record.machine} on {record.measured_at[:10]}: {record.width}x{record.height}"
        f"x{record.num_frames}, {record.num_steps} steps, {len(runs)} runs{same}"
    )
    return Evidence(log_s, math.hypot(sigma, spread), (words,))


def from_published(case: Case, published: Sequence[Observation] | None = None) -> Evidence | None:
    """Return what was published of exactly this, on as many of these GPUs; none if nothing was.

    A compiled network counts only for who says that his is. The fewer sources agree, the more doubt
    by what sources differ. Where it is not said with which kernel, on a GPU where that matters, the doubt is the formula's.
    """
    known = _latencies() if published is None else published
    rows = [row for row in known if _is_same(row, case)]
    if not rows:
        return None
    logs = [math.log(row.seconds) for row in rows]
    spread = statistics.pstdev(logs)
    sources = dict.fromkeys(f"published: {row.source} ({row.date}), {row.note}" for row in rows)
    between = read_calibration().tau[case.source_effect] / math.sqrt(
        len({row.source for row in rows})
    )
    sigma = math.hypot(_OTHER_MACHINE_SIGMA, spread, between)
    if case.stack.kernel is None and has_own_kernels(case.stack.gpu):
        sigma = max(sigma, read_calibration().time(case)[1])
    return Evidence(statistics.mean(logs), sigma, tuple(sources))


def workload_of_record(record: BenchRecord, model: Architecture) -> Workload | None:
    """Return what a record measured, if it measured this model."""
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


def _carried(case: Case, made: Workload, log_measured_s: float) -> tuple[float, float]:
    """Return a measurement carried over to another case by the formula, and its doubt."""
    calibration = read_calibration()
    here = Stack(gpu=case.stack.gpu, kernel=case.stack.kernel, software=case.stack.software)
    log_s, sigma = calibration.time(case)
    log_made_s, _ = calibration.time(Case(made, here))
    doubt = math.hypot(_REPEAT_SIGMA, _CARRIED_SIGMA * _apart(made, case.workload))
    if case.stack.num_gpus > 1:
        doubt = math.hypot(doubt, _OTHER_GPUS_SIGMA)
    return log_measured_s + log_s - log_made_s, min(doubt, sigma)


def _apart(one: Workload, other: Workload) -> float:
    """Return how far two workloads are apart, as a logarithm of FLOPs."""
    return abs(math.log(one.flops / other.flops))


def _log_seconds(record: BenchRecord) -> float:
    return math.log(record.encode_s + record.denoise_s + record.decode_s)


def _is_gpu(machine: str, gpu: Gpu) -> bool:
    """Return whether a machine's name, as a record has it, is that of a kind of GPU."""
    try:
        return find_gpu(machine.split(",")[0], {gpu.name: gpu}).name == gpu.name
    except RequestError:
        return False


def _is_same(row: Observation, case: Case) -> bool:
    """Return whether a published row is of exactly this case, its kernel where one is given."""
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
        and _is_software(row.stack.software, stack.software)
    )


def _is_software(published: str | None, asked: str | None) -> bool:
    return published != "compiled" if asked is None else published == asked


@functools.cache
def _latencies() -> tuple[Observation, ...]:
    return read_latencies()


_LOW_BIT_OVER_PEAK = 2.0  # 8-bit matrix rates are twice the 16-bit ones


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
