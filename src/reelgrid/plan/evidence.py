"""What a time rests on: a user's own measurement, a published one, or the formula, in that order.

A measurement of another size or number of steps is carried over by the formula: what the formula
gets wrong for a model on a GPU, it gets wrong for both. Not here: what is made of a time
(`predict`).
"""

import functools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from reelgrid.errors import RequestError
from reelgrid.measurement import BenchRecord
from reelgrid.plan.architectures import Architecture, find_architecture
from reelgrid.plan.calibration import has_own_kernels, read_calibration
from reelgrid.plan.calibration_formula import Case
from reelgrid.plan.hardware import Gpu, find_gpu
from reelgrid.plan.latencies import Observation, Stack, read_latencies
from reelgrid.plan.workload import Workload
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
        "fitted on this GPU" if gpu.chip == gpu.name else f"fitted on {gpu.chip}, of the same rates"
    )
    if not calibration.knows(f"gpu:{gpu.chip}"):
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
