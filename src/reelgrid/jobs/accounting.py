"""What the desk keeps beside the jobs: measured times, GPU-seconds per key, counts, notices.

Values only; each is a copy of one row or of a sum over rows.
"""

import math
from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True, kw_only=True)
class TimingProfile:
    """Measured times of one part of the work, taken as log-normal.

    Attributes:
        machine: As the worker calls it.
        model: Name of the model.
        workload: As in `messages.Timing`.
        part: step, load, encode, decode or write.
        num: How many jobs it was measured on.
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
    """A count that only grows, kept in the database so that restarts and processes do not matter.

    Attributes:
        name: Such as "completed", "failed", "checkpoints", "workers_lost", "yielded", "wait_s", "run_s".
        label: What it is counted by: the model, the error's code ...
        bound: Upper bound of a histogram's bucket, in the unit that the name ends with; infinity for
            the last one and for plain counts. A bucket counts its own interval only.
        num: How many.
        total: Sum of the observed values; of a plain count, the same as `num`.
    """

    name: str
    label: str
    bound: float
    num: int
    total: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCount:
    """How many jobs of a model are in a phase, and the seconds of work that are left in them."""

    phase: str
    model: str
    num: int
    remaining_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuePosition:
    """A waiting job's place, with what an estimate of its wait needs.

    Attributes:
        num_ahead: Waiting jobs with a smaller rank.
        ahead_s: Seconds of work in them.
        running_s: Seconds of work left in the jobs that workers have.
        num_workers: Workers heard of lately that can run this job.
    """

    num_ahead: int
    ahead_s: float
    running_s: float
    num_workers: int

    @property
    def wait_s(self) -> float | None:
        """Seconds until a worker is free for it, if the work spreads evenly; none without workers."""
        if not self.num_workers:
            return None
        return (self.ahead_s + self.running_s) / self.num_workers


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxEntry:
    """A message that an address is owed, written in the transaction that ended the job: one each.

    Attributes:
        event: `video.completed`, `video.failed`, `image.completed` or `image.failed`.
        url: Where it goes.
        created_at: When the job ended; Unix seconds.
        num_attempts: Deliveries that were tried, this one included.
    """

    job: str
    owner: str
    event: str
    url: str
    created_at: float
    num_attempts: int
