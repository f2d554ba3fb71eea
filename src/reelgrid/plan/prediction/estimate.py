"""Estimate of a request on a server: seconds, memory and cost, before anything runs.

The time comes from the server's measured times of the same size, else from those of another size,
else from the planner's prediction for the worker's GPU, else from a rule of thumb, which is marked
as a guess.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from reelgrid.catalog import ModelCard
from reelgrid.errors import RequestError
from reelgrid.jobs.accounting import TimingProfile
from reelgrid.jobs.request import JobRequest
from reelgrid.measurement import BenchRecord
from reelgrid.plan.facts.architectures import Architecture, find_architecture
from reelgrid.plan.facts.hardware import Gpu
from reelgrid.plan.prediction.calibration import Calibration
from reelgrid.plan.prediction.memory import activations_gib, decoder_gib
from reelgrid.plan.prediction.predict import predict
from reelgrid.plan.prediction.workload import Workload
from reelgrid.plan.uncertainty import Z_80
from reelgrid.spec import CompleteRequest

_LEAST_SIGMA = 0.05
_ONE_MEASUREMENT_SIGMA = 0.3
_SCALED_SIGMA = 0.4
_GUESS_SIGMA = 1.5
_GUESS_FLOPS_PER_S = 5e9  # of an ordinary processor: a rule of thumb, not a measurement

UNKNOWN_SPREAD = math.exp(Z_80 * _SCALED_SIGMA)
"""Factor from the likely time to the ends of its 80 % interval where no time was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Time and memory of a job on one worker of a server.

    Attributes:
        seconds: The likely time, the model loaded.
        sigma: Standard deviation of the logarithm of `seconds`.
        memory_gib: Device memory.
        basis: The sources in words.
        is_guess: Whether nothing was measured, so that nothing is refused because of it.
        load_s: Seconds to load the model, where no worker has it in memory.
    """

    seconds: float
    sigma: float
    memory_gib: float
    basis: str
    is_guess: bool = False
    load_s: float = 0.0

    @property
    def spread(self) -> float:
        """Factor from the likely value to the ends of the 80 % interval."""
        return math.exp(Z_80 * self.sigma)


def estimate(
    card: ModelCard,
    job: JobRequest,
    times: Sequence[TimingProfile] = (),
    gpu: Gpu | None = None,
    *,
    measurements: Sequence[BenchRecord] = (),
    calibration: Calibration | None = None,
) -> Estimate:
    """Return time and memory of a job.

    Args:
        card: The model.
        job: What it generates, completed by the card.
        times: The server's measured times of the job's model.
        gpu: The GPU of the workers; `None` where it is unknown.
        measurements: The user's own records of `reelgrid bench`.
        calibration: Coefficients of the formula; by default the package's.
    """
    workload = _workload(card, job.request, job.num_images)
    known = (
        _measured(job, times)
        or _scaled(job, times)
        or _predicted(workload, gpu, measurements, calibration)
    )
    seconds, sigma, basis = known or _guessed(card, job, workload)
    return Estimate(
        seconds=seconds,
        sigma=sigma,
        memory_gib=_memory_gib(card, job),
        basis=basis,
        is_guess=known is None,
    )


def sigma_of(times: Sequence[TimingProfile]) -> float:
    """Return the standard deviation of the logarithm of the next time.

    It joins the spread of the measured times and the uncertainty of their mean.
    """
    num = sum(each.num for each in times)
    if num < 2:
        return _ONE_MEASUREMENT_SIGMA
    variance = sum(each.num * each.sigma**2 for each in times) / num
    prior = _ONE_MEASUREMENT_SIGMA**2 / num
    return max(_LEAST_SIGMA, math.sqrt(variance * (1 + 1 / num) + prior))


_Time = tuple[float, float, str]
"""Seconds, standard deviation of their logarithm, and what they rest on."""


def _measured(job: JobRequest, times: Sequence[TimingProfile]) -> _Time | None:
    """Return the time by the server's times of the same model, size and frames."""
    alike = [each for each in times if each.workload == job.workload]
    steps = [each for each in alike if each.part == "step"]
    if not steps:
        return None
    seconds = job.num_steps * _mean_s(steps) + _seconds_around(job, alike)
    num = sum(each.num for each in steps)
    return seconds, sigma_of(steps), f"measured on this server, {num} jobs of the same size"


def _scaled(job: JobRequest, times: Sequence[TimingProfile]) -> _Time | None:
    """Return the time by those of the nearest other size, scaled by pixels and frames."""
    steps = [each for each in times if each.part == "step"]
    if not steps:
        return None
    ratios = {each.workload: _volume(job.workload) / _volume(each.workload) for each in steps}
    nearest = min(steps, key=lambda each: abs(math.log(ratios[each.workload])))
    around_s = _seconds_around(job, [each for each in times if each.workload == nearest.workload])
    seconds = ratios[nearest.workload] * (job.num_steps * math.exp(nearest.mean_log) + around_s)
    sigma = math.hypot(sigma_of([nearest]), _SCALED_SIGMA)
    return seconds, sigma, f"scaled by pixels and frames from {nearest.workload}, measured here"


def _predicted(
    workload: Workload | None,
    gpu: Gpu | None,
    measurements: Sequence[BenchRecord],
    calibration: Calibration | None,
) -> _Time | None:
    """Return the planner's prediction, where GPU and architecture are known."""
    if gpu is None or workload is None:
        return None
    found = predict(workload, gpu, measurements=measurements, calibration=calibration)
    basis = f"predicted for {gpu.name}: {'; '.join(found.basis)}"
    return found.seconds.likely, found.sigma, basis


def _guessed(card: ModelCard, job: JobRequest, workload: Workload | None) -> _Time:
    """Return a rule of thumb: the FLOPs at the rate of an ordinary processor."""
    if workload is None:
        tokens = _volume(job.workload) / 4 / card.size_multiple**2
        forwards = 2 if job.request.guidance_scale > 1 else 1
        flops = 2e9 * card.params_b * tokens * job.num_steps * forwards
    else:
        flops = workload.flops
    return flops / _GUESS_FLOPS_PER_S, _GUESS_SIGMA, "a guess: nothing was measured here yet"


def _seconds_around(job: JobRequest, times: Sequence[TimingProfile]) -> float:
    """Return the seconds before and after the steps."""
    seconds = {
        part: _mean_s([each for each in times if each.part == part])
        for part in ("encode", "decode", "write")
        if any(each.part == part for each in times)
    }
    per_image = seconds.get("decode", 0.0) + seconds.get("write", 0.0)
    return seconds.get("encode", 0.0) + job.num_images * per_image


def _mean_s(times: Sequence[TimingProfile]) -> float:
    """Return the geometric mean over machines, each weighted by its jobs."""
    num = sum(each.num for each in times)
    return math.exp(sum(each.num * each.mean_log for each in times) / num)


def _volume(workload: str) -> float:
    """Return pixels times frames times passes of `832x480x81` or `832x480x81 unguided`."""
    shape, _, words = workload.partition(" ")
    volume = math.prod(int(side) for side in shape.split("x"))
    return volume * (0.5 if words == "unguided" else 1.0)


def _memory_gib(card: ModelCard, job: JobRequest) -> float:
    """Return the card's memory, plus what a larger clip needs beyond the card's default size."""
    default = job.request.with_(size=card.default.size, num_frames=card.default.num_frames)
    asked, usual = (_workload(card, each, job.num_images) for each in (job.request, default))
    if asked is None or usual is None:
        return card.memory_gib
    return card.memory_gib + max(0.0, _working_gib(asked) - _working_gib(usual))


def _working_gib(workload: Workload) -> float:
    return activations_gib(workload) + decoder_gib(workload)


def _workload(card: ModelCard, request: CompleteRequest, num_images: int) -> Workload | None:
    """Return the workload of a request; `None` where the model's architecture is unknown."""
    architecture = _architecture(card.name)
    if architecture is None:
        return None
    return Workload(
        model=architecture,
        size=request.size,
        num_frames=request.num_frames,
        num_steps=request.num_steps,
        forwards_per_step=2 if request.guidance_scale > 1 else 1,
        fps=request.fps,
        num_images=num_images,
    )


@functools.cache
def _architecture(name: str) -> Architecture | None:
    try:
        return find_architecture(name)
    except RequestError:
        return None
