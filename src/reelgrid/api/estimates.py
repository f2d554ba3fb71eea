"""What a request would take: seconds with an interval, memory and money, before anything runs.

A measured profile of this server comes first, then what the user's own benchmarks and the planner
predict for the machine, and where nothing is known a rule of thumb that says so. Not here: the wait
in the queue, which the desk knows.
"""

import functools
import math
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reelgrid.catalog import ModelCard
from reelgrid.errors import ReelgridError
from reelgrid.jobs.accounting import TimingProfile
from reelgrid.jobs.job import Job
from reelgrid.jobs.messages import KnownWorker
from reelgrid.jobs.queue import OperatorQueue
from reelgrid.jobs.request import JobRequest
from reelgrid.measurement import BenchRecord
from reelgrid.plan.facts.architectures import Architecture, find_architecture
from reelgrid.plan.facts.hardware import Gpu, find_gpu, read_hardware
from reelgrid.plan.prediction.memory import activations_gib, decoder_gib
from reelgrid.plan.prediction.predict import predict
from reelgrid.plan.prediction.workload import Workload
from reelgrid.plan.uncertainty import Z_80

PROFILE_AGE_S = 5.0
_LEAST_SIGMA = 0.05
_ONE_MEASUREMENT_SIGMA = 0.3
_SCALED_SIGMA = 0.4
_GUESS = "a guess: nothing was measured here yet"
_GUESS_SIGMA = 1.5
_UNKNOWN_SPREAD = math.exp(Z_80 * _SCALED_SIGMA)
_GUESS_FLOPS_PER_S = 5e9  # of an ordinary processor: a rule of thumb, not a measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a job takes on one worker of this server, the model loaded.

    Attributes:
        seconds: The likely time.
        sigma: Standard deviation of its logarithm.
        memory_gib: Device memory.
        load_s: Seconds to load the model, where no worker has it in memory.
        basis: What this rests on, in words.
    """

    seconds: float
    sigma: float
    memory_gib: float
    load_s: float
    basis: str

    @property
    def is_guess(self) -> bool:
        """Whether it rests on nothing that was measured, so that nothing is refused for it."""
        return self.basis == _GUESS

    @property
    def spread(self) -> float:
        """Factor from the likely value to the bounds of an 80 % interval."""
        return math.exp(Z_80 * self.sigma)


@dataclass(frozen=True, slots=True)
class _Known:
    """What the desk said a moment ago, and the spread of each model's workloads."""

    until_s: float
    profiles: tuple[TimingProfile, ...]
    workers: tuple[KnownWorker, ...]
    spreads: dict[tuple[str, str], float]


class Estimator:
    """Estimates; cheap enough for every submission.

    Args:
        job_queue: Measured times and live workers.
        measurements: The user's own benchmarks.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        job_queue: OperatorQueue,
        measurements: Sequence[BenchRecord] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job_queue = job_queue
        self._measurements = tuple(measurements)
        self._clock = clock
        self._lock = threading.Lock()
        self._known: _Known | None = None

    def estimate(self, card: ModelCard, order: JobRequest) -> Estimate:
        """Return what the order takes."""
        known = self._look()
        profiles = [each for each in known.profiles if each.model == card.name]
        seconds, sigma, basis = (
            _measured(profiles, order)
            or _scaled(profiles, order, card)
            or self._predicted(known.workers, order, card)
            or _guessed(order, card)
        )
        return Estimate(
            seconds=seconds,
            sigma=sigma,
            memory_gib=_memory_gib(order, card),
            load_s=self._load_s(card, known, profiles),
            basis=basis,
        )

    def spread(self, job: Job) -> float:
        """Return the factor from the likely time that is left to the bounds of its interval."""
        order = JobRequest.from_json(job.request)
        return self._look().spreads.get((job.model, order.workload), _UNKNOWN_SPREAD)

    def workers(self) -> tuple[KnownWorker, ...]:
        """Return the live workers."""
        return self._look().workers

    def _look(self) -> _Known:
        known = self._known
        if known is not None and known.until_s > self._clock():
            return known
        with self._lock:
            if self._known is None or self._known.until_s <= self._clock():
                self._known = self._ask()
            return self._known

    def _ask(self) -> _Known:
        profiles = tuple(self._job_queue.profiles())
        alike: dict[tuple[str, str], list[TimingProfile]] = {}
        for profile in profiles:
            if profile.part == "step":
                alike.setdefault((profile.model, profile.workload), []).append(profile)
        return _Known(
            self._clock() + PROFILE_AGE_S,
            profiles,
            tuple(worker for worker in self._job_queue.workers() if worker.is_live),
            {key: math.exp(Z_80 * _sigma(group)) for key, group in alike.items()},
        )

    def _load_s(self, card: ModelCard, known: _Known, profiles: Sequence[TimingProfile]) -> float:
        if any(card.name in worker.info.warm_models for worker in known.workers):
            return 0.0
        measured = [profile.median_s for profile in profiles if profile.part == "load"]
        told = [worker.info.load_s for worker in known.workers]
        return statistics.median(measured or told or [0.0])

    def _predicted(
        self, workers: Sequence[KnownWorker], order: JobRequest, card: ModelCard
    ) -> tuple[float, float, str] | None:
        gpu = _gpu_of(workers)
        workload = _workload(order, card)
        if gpu is None or workload is None:
            return None
        said = predict(workload, gpu, measurements=self._measurements)
        return said.seconds.likely, said.sigma, f"predicted for {gpu.name}: {'; '.join(said.basis)}"


def _measured(
    profiles: Sequence[TimingProfile], order: JobRequest
) -> tuple[float, float, str] | None:
    """Take the times that this server measured for the same model, size and frames."""
    alike = [profile for profile in profiles if profile.workload == order.workload]
    steps = [profile for profile in alike if profile.part == "step"]
    if not steps:
        return None
    seconds = order.num_steps * _pooled(steps) + _around(alike, order)
    num = sum(profile.num for profile in steps)
    return seconds, _sigma(steps), f"measured on this server, {num} jobs of the same size"


def _scaled(
    profiles: Sequence[TimingProfile], order: JobRequest, card: ModelCard
) -> tuple[float, float, str] | None:
    """Scale the times of another size by the work that the network has with each."""
    steps = [profile for profile in profiles if profile.part == "step"]
    if not steps:
        return None
    nearest = min(steps, key=lambda profile: abs(math.log(_size_ratio(profile, order))))
    ratio = _size_ratio(nearest, order)
    around_s = _around([each for each in profiles if each.workload == nearest.workload], order)
    seconds = ratio * (order.num_steps * nearest.median_s + around_s)
    sigma = math.hypot(_sigma([nearest]), _SCALED_SIGMA)
    return seconds, sigma, f"scaled by pixels and frames from {nearest.workload}, measured here"


def _guessed(order: JobRequest, card: ModelCard) -> tuple[float, float, str]:
    workload = _workload(order, card)
    if workload is None:
        tokens = _volume(order.workload) / 4 / card.size_multiple**2
        forwards = 2 if order.request.guidance_scale > 1 else 1
        flops = 2e9 * card.params_b * tokens * order.num_steps * forwards
    else:
        flops = workload.flops
    return flops / _GUESS_FLOPS_PER_S, _GUESS_SIGMA, _GUESS


def _around(profiles: Sequence[TimingProfile], order: JobRequest) -> float:
    """Return the seconds before and after the steps."""
    times = {
        part: _pooled([profile for profile in profiles if profile.part == part])
        for part in ("encode", "decode", "write")
        if any(profile.part == part for profile in profiles)
    }
    return times.get("encode", 0.0) + order.num_images * (
        times.get("decode", 0.0) + times.get("write", 0.0)
    )


def _pooled(profiles: Sequence[TimingProfile]) -> float:
    """Return the geometric mean over machines, each counted by its jobs."""
    num = sum(profile.num for profile in profiles)
    return math.exp(sum(profile.num * profile.mean_log for profile in profiles) / num)


def _sigma(profiles: Sequence[TimingProfile]) -> float:
    """Return the standard deviation of the logarithm of one more time: of the spread, and of ours."""
    num = sum(profile.num for profile in profiles)
    if num < 2:
        return _ONE_MEASUREMENT_SIGMA
    variance = sum(profile.num * profile.sigma**2 for profile in profiles) / num
    doubt = _ONE_MEASUREMENT_SIGMA**2 / num
    return max(_LEAST_SIGMA, math.sqrt(variance * (1 + 1 / num) + doubt))


def _size_ratio(profile: TimingProfile, order: JobRequest) -> float:
    return _volume(order.workload) / _volume(profile.workload)


def _volume(workload: str) -> float:
    """Return pixels times frames times passes of `832x480x81` or `832x480x81 unguided`."""
    shape, _, words = workload.partition(" ")
    volume = math.prod(int(side) for side in shape.split("x"))
    return volume * (0.5 if words == "unguided" else 1.0)


def _workload(order: JobRequest, card: ModelCard) -> Workload | None:
    request = order.request
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
        num_images=order.num_images,
    )


def _gpu_of(workers: Sequence[KnownWorker]) -> Gpu | None:
    for worker in workers:
        try:
            return find_gpu(worker.info.machine, read_hardware())
        except ReelgridError:
            continue
    return None


def _memory_gib(order: JobRequest, card: ModelCard) -> float:
    """Return what the card says for its default size, and what a larger clip takes beyond that."""
    request = order.request
    asked = _workload(order, card)
    default = request.with_(size=card.default.size, num_frames=card.default.num_frames)
    usual = _workload(JobRequest(request=default), card)
    if asked is None or usual is None:
        return card.memory_gib
    return card.memory_gib + max(0.0, _working_gib(asked) - _working_gib(usual))


def _working_gib(workload: Workload) -> float:
    return activations_gib(workload) + decoder_gib(workload)


@functools.cache
def _architecture(name: str) -> Architecture | None:
    try:
        return find_architecture(name)
    except ReelgridError:
        return None
