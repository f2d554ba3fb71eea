"""Which waiting job a worker takes, and which running one gives way: pure functions of values.

Every job has a *rank*, a time in seconds that is fixed when the job is admitted; the smallest goes
first. A rank is never earlier than the admission, so that waiting is aging: whatever is admitted
after the time that a job's rank names stands behind it, and no job starves.

The service calls this with the database's clock, the simulator with simulated time. The formulas
are functions of plain numbers, so that the simulator can compile the very same ones. Not here:
leases, retries and tables (`job_queue`).
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

LENGTH_WEIGHT = 4.0
"""A job lets jobs pass that come later by up to this many times the difference in length."""

DEADLINE_LEAD = 2.0
"""A job with a deadline is due this many times its own length before the deadline."""

PREEMPTION_GAIN = 2.0
"""Giving way pays when the running job needs this many times what the waiting one costs it."""


class Priority(IntEnum):
    """Classes of patience; a higher one passes a lower one for as long as the patience lasts."""

    LOW = 0
    NORMAL = 1
    HIGH = 2

    @property
    def delay_s(self) -> float:
        """Seconds by which a job of this class lets jobs of the highest class pass."""
        return _PATIENCE_S[self]


_PATIENCE_S = {Priority.LOW: 14_400.0, Priority.NORMAL: 900.0, Priority.HIGH: 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingJob:
    """A job that can be taken, as far as the policy looks at it.

    Attributes:
        id: Its name; ties go to the smaller one.
        rank: From `rank`; seconds.
        estimate_s: Seconds of work that are left, without loading the model.
        memory_gib: Device memory it needs.
        model: The model it needs.
        needs_trust: Whether it may run on trusted workers only.
    """

    id: str
    rank: float
    estimate_s: float
    memory_gib: float
    model: str
    needs_trust: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerCapacity:
    """A worker that asks for work.

    Attributes:
        memory_gib: Device memory that a job may use.
        warm_models: Models in its memory.
        load_s: Seconds to load a model that is not.
        models: The models it can load at all; none is any.
        is_trusted: Whether private jobs may run on it.
    """

    memory_gib: float
    warm_models: frozenset[str] = frozenset()
    load_s: float = 0.0
    models: frozenset[str] | None = None
    is_trusted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningJob:
    """A job on a worker.

    Attributes:
        rank: The rank it was admitted with.
        remaining_s: Seconds of work that are left.
        save_s: Seconds to save its state and to take it up again.
    """

    id: str
    rank: float
    remaining_s: float
    model: str
    worker: WorkerCapacity
    save_s: float = 0.0


def fair_start_s(
    submitted_s: float, last_turn_s: float | None, last_estimate_s: float = 0.0
) -> float:
    """Return when a job would begin if its owner had one worker to himself.

    Jobs of one owner stand one behind the other on this clock, so that owners share the workers
    evenly however many jobs each of them sends (Zhang, "Virtual Clock", SIGCOMM 1990).

    Args:
        submitted_s: When it is admitted.
        last_turn_s: The latest turn among the owner's unfinished jobs; none if there are none.
        last_estimate_s: The length of that job.
    """
    if last_turn_s is None:
        return submitted_s
    return fair_start_after(submitted_s, last_turn_s, last_estimate_s)


def fair_start_after(submitted_s: float, last_turn_s: float, last_estimate_s: float) -> float:
    """Return the turn of a job whose owner has unfinished ones."""
    return max(submitted_s, last_turn_s + last_estimate_s)


def rank(
    *,
    submitted_s: float,
    fair_start_s: float,
    estimate_s: float,
    priority: Priority = Priority.NORMAL,
    deadline_s: float | None = None,
) -> float:
    """Return the rank of a job, in seconds on the clock of `submitted_s`; smaller goes first.

    Short jobs pass long ones within a class, owners take turns, and a deadline brings a job forward
    to `DEADLINE_LEAD` times its length before it, at the earliest to the head of its own time.

    Args:
        submitted_s: When it is admitted.
        fair_start_s: From `fair_start_s`.
        estimate_s: Seconds that it will take on a worker.
        priority: Its class.
        deadline_s: When it has to be finished.
    """
    due_s = math.inf if deadline_s is None else deadline_s
    return rank_by(submitted_s, fair_start_s, estimate_s, priority.delay_s, due_s)


def rank_by(
    submitted_s: float, fair_start_s: float, estimate_s: float, delay_s: float, due_s: float
) -> float:
    """Return the rank in numbers alone; a job without a deadline is due at infinity."""
    patient = fair_start_s + delay_s + LENGTH_WEIGHT * estimate_s
    return min(patient, max(submitted_s, due_s - DEADLINE_LEAD * estimate_s))


def fits(worker: WorkerCapacity, job: WaitingJob) -> bool:
    """Return whether the worker can and may run the job."""
    return (
        job.memory_gib <= worker.memory_gib
        and (worker.models is None or job.model in worker.models)
        and (worker.is_trusted or not job.needs_trust)
    )


def claim_rank(worker: WorkerCapacity, job: WaitingJob) -> float:
    """Return the job's rank for this worker: a model in its memory is worth the time to load it."""
    return rank_on_worker(job.rank, worker.load_s, job.model in worker.warm_models)


def rank_on_worker(rank: float, load_s: float, is_warm: bool) -> float:
    """Return the rank as a worker sees it that has, or has not, the model in its memory."""
    return rank - load_s if is_warm else rank


def choose(worker: WorkerCapacity, waiting: Iterable[WaitingJob]) -> WaitingJob | None:
    """Return the job that the worker takes, or none.

    Of jobs that are alike in model, memory and trust it is enough to hand over the one with the
    smallest rank: the answer is the same.
    """
    candidates = (job for job in waiting if fits(worker, job))
    return min(
        candidates, key=lambda job: (claim_rank(worker, job), job.rank, job.id), default=None
    )


def should_yield(running: RunningJob, waiting: WaitingJob) -> bool:
    """Return whether a running job stops at its next step for a waiting one.

    It does if the worker would then take the waiting one, and if what that costs the running one,
    saving, loading and all, is less than a `PREEMPTION_GAIN`-th of what it still needs.
    """
    worker = running.worker
    return fits(worker, waiting) and is_worthwhile(
        running.rank,
        running.remaining_s,
        running.save_s,
        worker.load_s,
        waiting.rank,
        waiting.estimate_s,
        waiting.model in worker.warm_models,
    )


def is_worthwhile(
    running_rank: float,
    remaining_s: float,
    save_s: float,
    load_s: float,
    waiting_rank: float,
    estimate_s: float,
    is_warm: bool,
) -> bool:
    """Return whether giving way pays, in numbers alone.

    The ranks are compared as the worker sees them, which has the running job's model in its
    memory: a job that gave way would otherwise be taken up again in the same breath.
    """
    if rank_on_worker(waiting_rank, load_s, is_warm) >= rank_on_worker(running_rank, load_s, True):
        return False
    loads = 0 if is_warm else 2  # there and back
    return PREEMPTION_GAIN * (estimate_s + save_s + loads * load_s) < remaining_s


def choose_victim(running: Iterable[RunningJob], waiting: WaitingJob) -> RunningJob | None:
    """Return the running job that gives way to the waiting one: the one with the largest rank.

    To be asked only when no worker that fits is free.
    """
    candidates = (job for job in running if should_yield(job, waiting))
    return max(candidates, key=lambda job: (job.rank, job.id), default=None)
