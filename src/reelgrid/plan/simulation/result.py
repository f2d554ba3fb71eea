"""Result of one run, before any statistics: exact integers that obey conservation laws."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from reelgrid.plan.simulation.experiment import Experiment


class EventType(IntEnum):
    """Types of events; of two events in one microsecond the smaller number comes first.

    Those up to `ARRIVE` come from the event heap; the others follow from them immediately.
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
    """Uses of node time; every microsecond of a node has exactly one."""

    STARTING = 0
    LOADING = 1
    IDLE = 2
    USEFUL = 3
    REDONE = 4
    LOST = 5
    CHECKPOINTING = 6
    ABSENT = 7


class Gauge(IntEnum):
    """Quantities of the chart: waiting jobs; nodes with a job, ready, and leased."""

    WAITING = 0
    BUSY = 1
    UP = 2
    LEASED = 3


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """The result of one run.

    Attributes:
        experiment: The experiment.
        arrived_us: Arrival time of each job, ascending.
        stream: Stream of each job.
        wait_us: From arrival to the first start; -1 for a job that never started.
        turnaround_us: From arrival to completion; -1 for a job that did not finish.
        time_use_us: Node time by pool (row) and `TimeUse` (column).
        work_us: Work done and kept, by stream, of finished and unfinished jobs.
        unfinished: Numbers of unfinished jobs: waiting, on a node, lost but not yet detected.
        events: Number of events by `EventType`.
        chart: Values at multiples of `chart_every_us` (row) by `Gauge` (column).
        digest: 64-bit hash of the sequence of events: times, types, nodes, jobs.
    """

    experiment: Experiment
    arrived_us: NDArray[np.int64]
    stream: NDArray[np.int16]
    wait_us: NDArray[np.int64]
    turnaround_us: NDArray[np.int64]
    time_use_us: NDArray[np.int64]
    work_us: NDArray[np.int64]
    unfinished: tuple[int, int, int]
    events: NDArray[np.int64]
    chart: NDArray[np.int64]
    digest: int

    @property
    def num_heap_events(self) -> int:
        """Events taken off the event heap: the measure of the engine's work."""
        return int(self.events[: EventType.ARRIVE + 1].sum())

    def conservation_errors(self) -> Iterator[str]:
        """Yield a line for each violation of the conservation laws of time and jobs: a bug of the engine."""
        experiment = self.experiment
        for pool, time_use_us in zip(experiment.pools, self.time_use_us, strict=True):
            if int(time_use_us.sum()) != pool.count * experiment.horizon_us:
                yield f"{pool.name}: {time_use_us.sum()} us of {pool.count * experiment.horizon_us}"
        if (self.time_use_us < 0).any():
            yield "negative time"
        finished = int((self.turnaround_us >= 0).sum())
        if len(self.arrived_us) != finished + sum(self.unfinished):
            yield f"{len(self.arrived_us)} arrived, {finished} finished, {self.unfinished} unfinished"
        if (
            finished != self.events[EventType.FINISH]
            or len(self.arrived_us) != self.events[EventType.ARRIVE]
        ):
            yield "the event counts and the jobs disagree"


_MASK = (1 << 64) - 1
PRIME_TIME = 0x9E3779B97F4A7C15
PRIME_SUBJECT = 0xC2B2AE3D27D4EB4F


def digest_after(digest: int, time_us: int, event: int, node: int, job: int) -> int:
    """Return the 64-bit digest of a sequence of events after one more event."""
    digest = ((digest ^ (time_us * 16 + event)) * PRIME_TIME) & _MASK
    subject = ((node + 1) << 32) + job + 1
    return ((digest ^ (digest >> 29) ^ subject) * PRIME_SUBJECT) & _MASK
