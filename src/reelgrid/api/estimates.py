"""Estimates for the server: what its job queue and workers know, read at most every few seconds."""

import math
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from reelgrid.catalog import ModelCard
from reelgrid.errors import RequestError
from reelgrid.jobs.accounting import TimingProfile
from reelgrid.jobs.job import Job
from reelgrid.jobs.messages import KnownWorker
from reelgrid.jobs.queue import OperatorQueue
from reelgrid.jobs.request import JobRequest
from reelgrid.measurement import BenchRecord
from reelgrid.plan.facts.hardware import Gpu, find_gpu, read_hardware
from reelgrid.plan.prediction.calibration import Calibration
from reelgrid.plan.prediction.estimate import (
    UNKNOWN_SPREAD,
    Estimate,
    estimate,
    sigma_of,
)
from reelgrid.plan.uncertainty import Z_80

PROFILE_AGE_S = 5.0


@dataclass(frozen=True, slots=True)
class _Known:
    """What the job queue answered, and the spread of the times of each model's workloads."""

    until_s: float
    profiles: tuple[TimingProfile, ...]
    workers: tuple[KnownWorker, ...]
    spreads: dict[tuple[str, str], float]


class Estimator:
    """Estimates jobs for the server; cheap enough for every submission.

    Args:
        job_queue: Measured times and live workers.
        measurements: The user's own benchmarks.
        calibration: Coefficients of the formula; by default the package's.
        clock: Monotonic, in seconds.
    """

    def __init__(
        self,
        job_queue: OperatorQueue,
        measurements: Sequence[BenchRecord] = (),
        calibration: Calibration | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._job_queue = job_queue
        self._measurements = tuple(measurements)
        self._calibration = calibration
        self._clock = clock
        self._lock = threading.Lock()
        self._known: _Known | None = None

    def estimate(self, card: ModelCard, request: JobRequest) -> Estimate:
        """Return time and memory of a job."""
        known = self._current()
        profiles = [each for each in known.profiles if each.model == card.name]
        found = estimate(
            card,
            request,
            profiles,
            _gpu_of(known.workers),
            measurements=self._measurements,
            calibration=self._calibration,
        )
        return replace(found, load_s=_load_s(card, known, profiles))

    def spread(self, job: Job) -> float:
        """Return the factor from the likely time that is left to the bounds of its interval."""
        request = JobRequest.from_json(job.request)
        return self._current().spreads.get((job.model, request.workload), UNKNOWN_SPREAD)

    def workers(self) -> tuple[KnownWorker, ...]:
        """Return the live workers."""
        return self._current().workers

    def _current(self) -> _Known:
        known = self._known
        if known is not None and known.until_s > self._clock():
            return known
        with self._lock:
            if self._known is None or self._known.until_s <= self._clock():
                self._known = self._read()
            return self._known

    def _read(self) -> _Known:
        profiles = tuple(self._job_queue.profiles())
        alike: dict[tuple[str, str], list[TimingProfile]] = {}
        for profile in profiles:
            if profile.part == "step":
                alike.setdefault((profile.model, profile.workload), []).append(profile)
        return _Known(
            self._clock() + PROFILE_AGE_S,
            profiles,
            tuple(worker for worker in self._job_queue.workers() if worker.is_live),
            {key: math.exp(Z_80 * sigma_of(group)) for key, group in alike.items()},
        )


def _load_s(card: ModelCard, known: _Known, profiles: Sequence[TimingProfile]) -> float:
    """Return the seconds to load a model; 0 where a worker has it in memory."""
    if any(card.name in worker.info.warm_models for worker in known.workers):
        return 0.0
    measured = [profile.median_s for profile in profiles if profile.part == "load"]
    expected = [worker.info.load_s for worker in known.workers]
    return statistics.median(measured or expected or [0.0])


def _gpu_of(workers: Sequence[KnownWorker]) -> Gpu | None:
    """Return the first worker's GPU that is known."""
    for worker in workers:
        try:
            return find_gpu(worker.info.machine, read_hardware())
        except RequestError:
            continue
    return None
