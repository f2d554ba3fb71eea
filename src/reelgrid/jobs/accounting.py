"""Values that the queue keeps beside the jobs: time profiles, usage, counters, the webhook outbox."""

import math
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingProfile:
    """Measured times of one part of the work, modelled as log-normal.

    Attributes:
        machine: Name of the device, from `messages.WorkerInfo`.
        model: Name of the model.
        workload: As in `messages.Timing`.
        part: step, load, encode, decode or write.
        num: Number of jobs measured.
        mean_log: Mean of the logarithms of the times in seconds.
        variance_log: Their variance, divided by `num`.
    """

    machine: str
    model: str
    workload: str
    part: str
    num: int
    mean_log: float
    variance_log: float

    @property
    def median_s(self) -> float:
        """The median time in seconds."""
        return math.exp(self.mean_log)

    @property
    def sigma(self) -> float:
        """Standard deviation of the logarithm, unbiased; with one measurement it is unknown: 0."""
        return math.sqrt(self.variance_log * self.num / max(self.num - 1, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerUsage:
    """GPU-seconds that an owner's jobs used on one day (UTC)."""

    owner: str
    day: date
    gpu_s: float
    num_jobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """A counter, or one bucket of a histogram; kept in the database, so it survives restarts.

    Attributes:
        name: Such as "completed", "failed", "checkpoints", "workers_lost", "released", "wait_s".
        label: What it is counted by: the model, the error code ...
        bound: Upper bound of the bucket, in the unit that the name ends with; infinity for the last
            bucket and for plain counters. Buckets are not cumulative.
        num: Number of observations.
        total: Sum of the observed values; of a plain counter, the same as `num`.
    """

    name: str
    label: str
    bound: float
    num: int
    total: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCount:
    """Number of jobs of a model in a phase, and the seconds of work left in them."""

    phase: str
    model: str
    num: int
    remaining_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePosition:
    """Position of a job in the queue, with what an estimate of its wait needs.

    Attributes:
        num_ahead: Waiting jobs with a lower rank.
        ahead_s: Seconds of work in them.
        running_s: Seconds of work left in running jobs.
        num_workers: Live workers that can run this job.
    """

    num_ahead: int
    ahead_s: float
    running_s: float
    num_workers: int

    @property
    def wait_s(self) -> float | None:
        """Seconds until a worker is free, if the work spreads evenly; `None` without workers."""
        if not self.num_workers:
            return None
        return (self.ahead_s + self.running_s) / self.num_workers


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEntry:
    """A webhook that has to be sent, written in the transaction that ended the job: one for each job.

    Attributes:
        event: `video.completed`, `video.failed`, `image.completed` or `image.failed`.
        url: The receiver.
        created_at: When the job ended; Unix seconds.
        num_attempts: Number of attempts, including this one.
    """

    job: str
    owner: str
    event: str
    url: str
    created_at: float
    num_attempts: int
