"""What a run leaves behind, before any statistics: whole numbers that add up.

Not here: quantiles, intervals and money (`statistics`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from reelgrid.plan.simulation.experiment import Experiment


class EventType(IntEnum):
    """What happens; the number decides which of two events of the same microsecond is first.

    Those up to `ARRIVE` come off the calendar, the others follow from them at once.
    """

    FINISH = 0
    CHECKPOINTED = 1
    READY = 2
    REQUEUE = 3
    NOTICE = 4
    SHARED_LOSS = 5
    LOSS = 6
    LEASE = 7
    ARRIVE = 8
    START = 9
    PREEMPT = 10


class TimeUse(IntEnum):
    """What a microsecond of a node is spent on; each is spent on exactly one."""

    STARTING = 0
    LOADING = 1
    IDLE = 2
    USEFUL = 3
    REDONE = 4
    LOST = 5
    CHECKPOINTING = 6
    ABSENT = 7


class Gauge(IntEnum):
    """What the chart shows: jobs that wait; nodes with a job, ready, and leased."""

    WAITING = 0
    BUSY = 1
    UP = 2
    LEASED = 3


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """One run.

    Attributes:
        experiment: What was run.
        arrived_us: When each job arrived, in that order.
        stream: Of which stream each job is.
        wait_us: From arrival to the first start; -1 for a job that was never started.
        turnaround_us: From arrival to the end; -1 for a job that was not finished.
        time_use_us: By pool (row) and `TimeUse` (column).
        work_us: Work done and kept, by stream: of finished jobs and of those in hand.
        in_hand: Jobs at the end that are waiting, on a node, or on their way back.
        events: How often each `EventType` happened.
        chart: By point in time (row), a multiple of `chart_every_us`, and `Gauge` (column).
        digest: Of the log of all events in their order: times, nodes, jobs.
    """

    experiment: Experiment
    arrived_us: NDArray[np.int64]
    stream: NDArray[np.int16]
    wait_us: NDArray[np.int64]
    turnaround_us: NDArray[np.int64]
    time_use_us: NDArray[np.int64]
    work_us: NDArray[np.int64]
    in_hand: tuple[int, int, int]
    events: NDArray[np.int64]
    chart: NDArray[np.int64]
    digest: int

    @property
    def num_heap_events(self) -> int:
        """Events that came off the calendar: the honest count of the engine's work."""
        return int(self.events[: EventType.ARRIVE + 1].sum())

    def conservation_errors(self) -> Iterator[str]:
        """Yield which laws of conservation the run breaks: none, or the engine is wrong.

        Yields:
            One line each.
        """
        experiment = self.experiment
        for pool, time_use_us in zip(experiment.pools, self.time_use_us, strict=True):
            if int(time_use_us.sum()) != pool.count * experiment.horizon_us:
                yield f"{pool.name}: {time_use_us.sum()} us of {pool.count * experiment.horizon_us}"
        if (self.time_use_us < 0).any():
            yield "negative time"
        finished = int((self.turnaround_us >= 0).sum())
        if len(self.arrived_us) != finished + sum(self.in_hand):
            yield f"{len(self.arrived_us)} arrived, {finished} finished, {self.in_hand} in hand"
        if (
            finished != self.events[EventType.FINISH]
            or len(self.arrived_us) != self.events[EventType.ARRIVE]
        ):
            yield "the log and the jobs disagree"


_MASK = (1 << 64) - 1
PRIME_TIME = 0x9E3779B97F4A7C15
PRIME_WHO = 0xC2B2AE3D27D4EB4F


def digest_after(digest: int, time_us: int, event: int, node: int, job: int) -> int:
    """Return the digest of a log to which one event has been added; 64 bits."""
    digest = ((digest ^ (time_us * 16 + event)) * PRIME_TIME) & _MASK
    who = ((node + 1) << 32) + job + 1
    return ((digest ^ (digest >> 29) ^ who) * PRIME_WHO) & _MASK
