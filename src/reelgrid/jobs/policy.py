"""Scheduling policy: which waiting job a worker takes, and which running job is preempted.

Pure functions of values. Every job has a *rank*, a time in seconds that is fixed at admission; the
lowest rank goes first. A rank is never earlier than the admission, so waiting is aging: a job admitted
after another's rank always stands behind it, and no job starves.

The service calls this with the database's clock, the simulator with simulated time. The formulas take
plain numbers, so that the simulator can compile exactly these functions.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

LENGTH_WEIGHT = 4.0
"""A later job may pass a longer one by up to this many times the difference in length."""

DEADLINE_LEAD = 2.0
"""A job with a deadline is due this many times its own length before the deadline."""

PREEMPTION_GAIN = 2.0
"""Preemption is worthwhile if the running job needs this many times what it costs to let the other pass."""


class Priority(IntEnum):
    """Priority class. A higher class passes a lower one only within the lower one's delay."""

    LOW = 0
    NORMAL = 1
    HIGH = 2

    @property
    def delay_s(self) -> float:
        """Seconds by which jobs of this class are ranked behind the highest class."""
        return _DELAY_S[self]


_DELAY_S = {Priority.LOW: 14_400.0, Priority.NORMAL: 900.0, Priority.HIGH: 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingJob:
    """A waiting job, as the policy sees it.

    Attributes:
        id: Breaks ties; the smaller id goes first.
        rank: From `rank`; seconds.
        estimate_s: Seconds of work left, without loading the model.
        memory_gib: Device memory it needs.
        model: Name of the model it needs.
        needs_trust: Whether only trusted workers may run it.
    """

    id: str
    rank: float
    estimate_s: float
    memory_gib: float
    model: str
    needs_trust: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerCapacity:
    """What a worker can run, as the policy sees it.

    Attributes:
        memory_gib: Device memory that a job may use.
        warm_models: Models in its memory.
        load_s: Seconds to load a model that is not in memory.
        models: The models it can load; `None` means any.
        is_trusted: Whether it may run jobs that need trust.
    """

    memory_gib: float
    warm_models: frozenset[str] = frozenset()
    load_s: float = 0.0
    models: frozenset[str] | None = None
    is_trusted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningJob:
    """A job on a worker, as the policy sees it.

    Attributes:
        rank: The rank it was admitted with.
        remaining_s: Seconds of work left.
        save_s: Seconds to write its checkpoint and to restore it.
    """

    id: str
    rank: float
    remaining_s: float
    model: str
    worker: WorkerCapacity
    save_s: float = 0.0


def remaining_s(estimate_s: float, step: int, num_steps: int) -> float:
    """Return the seconds of work left, never below zero; `sql.schema.REMAINING_S` is the same in SQL.

    Args:
        estimate_s: Seconds of the whole job.
        step: Steps that are done. Some solvers count more than `num_steps`; they count as all.
        num_steps: Denoising steps; with 0 nothing is ever counted as done.
    """
    return estimate_s * (1.0 - min(step, num_steps) / max(num_steps, 1))


def fair_start_s(
    submitted_s: float, last_fair_start_s: float | None, last_estimate_s: float = 0.0
) -> float:
    """Return when a job would start if its owner had exactly one worker (Zhang, "Virtual Clock", 1990).

    Jobs of one owner queue one behind the other on this clock, so that owners share the workers evenly
    however many jobs each of them submits.

    Args:
        submitted_s: When it is admitted.
        last_fair_start_s: The latest fair start among the owner's unfinished jobs; `None` if there are
            none.
        last_estimate_s: The length of that job.
    """
    if last_fair_start_s is None:
        return submitted_s
    return fair_start_after(submitted_s, last_fair_start_s, last_estimate_s)


def fair_start_after(submitted_s: float, last_fair_start_s: float, last_estimate_s: float) -> float:
    """Return the fair start of a job whose owner has unfinished jobs."""
    return max(submitted_s, last_fair_start_s + last_estimate_s)


def rank(
    *,
    submitted_s: float,
    fair_start_s: float,
    estimate_s: float,
    priority: Priority = Priority.NORMAL,
    deadline_s: float | None = None,
) -> float:
    """Return the rank of a job, in seconds on the clock of `submitted_s`; the lowest goes first.

    Short jobs pass long ones within a class, owners share fairly, and a deadline moves a job forward to
    `DEADLINE_LEAD` times its length before it, but never before its own admission.

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
    """Return the rank from plain numbers; a job without a deadline is due at infinity."""
    without_deadline = fair_start_s + delay_s + LENGTH_WEIGHT * estimate_s
    return min(without_deadline, max(submitted_s, due_s - DEADLINE_LEAD * estimate_s))


def fits(worker: WorkerCapacity, job: WaitingJob) -> bool:
    """Return whether the worker can run the job and is allowed to."""
    return (
        job.memory_gib <= worker.memory_gib
        and (worker.models is None or job.model in worker.models)
        and (worker.is_trusted or not job.needs_trust)
    )


def claim_rank(worker: WorkerCapacity, job: WaitingJob) -> float:
    """Return the job's rank for this worker: a warm model is worth the time to load it."""
    return rank_on_worker(job.rank, worker.load_s, job.model in worker.warm_models)


def rank_on_worker(rank: float, load_s: float, is_warm: bool) -> float:
    """Return the rank as seen by a worker that has, or does not have, the model in memory."""
    return rank - load_s if is_warm else rank


def choose(worker: WorkerCapacity, waiting: Iterable[WaitingJob]) -> WaitingJob | None:
    """Return the job that the worker takes, or `None`.

    Of jobs that are alike in model, memory and trust, passing the one with the lowest rank is enough:
    the answer is the same.
    """
    candidates = (job for job in waiting if fits(worker, job))
    return min(
        candidates, key=lambda job: (claim_rank(worker, job), job.rank, job.id), default=None
    )


def should_yield(running: RunningJob, waiting: WaitingJob) -> bool:
    """Return whether a running job stops at its next step for a waiting one.

    It does if its worker would then take the waiting job, and if the cost of that, with saving and
    loading, is less than a `PREEMPTION_GAIN`-th of what the running job still needs.
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
    """Return whether preemption is worthwhile, from plain numbers.

    The ranks are compared as the worker sees them, with the running job's model in memory: otherwise
    the worker would take the preempted job again at once.
    """
    if rank_on_worker(waiting_rank, load_s, is_warm) >= rank_on_worker(running_rank, load_s, True):
        return False
    loads = 0 if is_warm else 2  # the waiting job's model, and the running one's again
    return PREEMPTION_GAIN * (estimate_s + save_s + loads * load_s) < remaining_s


def choose_victim(running: Iterable[RunningJob], waiting: WaitingJob) -> RunningJob | None:
    """Return the running job that yields to the waiting one: the one with the highest rank.

    Only meaningful while no worker that fits is free.
    """
    candidates = (job for job in running if should_yield(job, waiting))
    return max(candidates, key=lambda job: (job.rank, job.id), default=None)
