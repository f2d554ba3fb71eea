"""The plain engine's books: every microsecond of every node, every job, every event, the chart."""

from collections.abc import Iterable

import numpy as np

from reelgrid.plan.simulation import work_time
from reelgrid.plan.simulation.draws import Arrivals
from reelgrid.plan.simulation.experiment import Experiment
from reelgrid.plan.simulation.parts import Execution, NodePhase, SimulatedJob, SimulatedNode
from reelgrid.plan.simulation.result import EventType, Gauge, RunResult, TimeUse, digest_after

_SPENT_IN = {
    NodePhase.ABSENT: TimeUse.ABSENT,
    NodePhase.STARTING: TimeUse.STARTING,
    NodePhase.IDLE: TimeUse.IDLE,
}


class Ledger:
    """What a run has counted so far.

    Attributes:
        log: Every event as (time, event, node, job), -1 for none; kept if asked for.
        watched: What the chart shows, as it is now.
    """

    def __init__(self, experiment: Experiment, *, keeps_log: bool = False) -> None:
        self.log: list[tuple[int, int, int, int]] = []
        self.watched = [0] * len(Gauge)
        self._experiment = experiment
        self._keeps_log = keeps_log
        self._arrived_us: list[int] = []
        self._stream: list[int] = []
        self._wait_us: list[int] = []
        self._took_us: list[int] = []
        self._spent_us = [[0] * len(TimeUse) for _ in experiment.pools]
        self._work_us = [0] * len(experiment.streams)
        self._events = [0] * len(EventType)
        self._chart: list[list[int]] = []
        self._digest = 0

    def note(self, time_us: int, event: EventType, node: int = -1, job: int = -1) -> None:
        """Count an event."""
        self._events[event] += 1
        self._digest = digest_after(self._digest, time_us, event, node, job)
        if self._keeps_log:
            self.log.append((time_us, event, node, job))

    def add_arrivals(self, arrivals: Arrivals) -> int:
        """Make room for jobs that will arrive; return the number of the first."""
        first = len(self._arrived_us)
        self._arrived_us += arrivals.at_us.tolist()
        self._stream += arrivals.stream.tolist()
        self._wait_us += [-1] * len(arrivals)
        self._took_us += [-1] * len(arrivals)
        return first

    def note_started(self, job: SimulatedJob, now_us: int) -> None:
        """Write down how long a job has waited, if this is its first start."""
        if self._wait_us[job.number] < 0:
            self._wait_us[job.number] = now_us - job.arrived_us

    def note_finished(self, job: SimulatedJob, now_us: int) -> None:
        """Write down how long a job took."""
        assert job.kept_us == job.work_us
        self._took_us[job.number] = now_us - job.arrived_us
        self._work_us[job.stream_number] += job.work_us

    def watch_until(self, time_us: int) -> None:
        """Draw the points of the chart up to a time before which nothing else happens."""
        while len(self._chart) * self._experiment.chart_every_us < time_us:
            self._chart.append(list(self.watched))

    def end_phase(self, node: SimulatedNode, now_us: int) -> None:
        """Account for a phase without a job, and begin the next one."""
        self._spent_us[node.pool_number][_SPENT_IN[node.phase]] += now_us - node.since_us
        node.since_us = now_us

    def end_stay(
        self, node: SimulatedNode, stay: Execution, now_us: int, computed_us: int, kept_us: int
    ) -> None:
        """Account for a job's time on a node, and for its work.

        Args:
            node: Where it was.
            stay: How it went.
            now_us: When it ends.
            computed_us: Time that went into work.
            kept_us: How much of it is not lost.
        """
        job, gone_us = stay.job, now_us - stay.begin_us
        loading_us = min(gone_us, stay.load_us)
        again_us = work_time.again_us(
            kept_us, stay.total_us, stay.work_us, job.reached_us - job.kept_us
        )
        time_use_us = self._spent_us[node.pool_number]
        time_use_us[TimeUse.LOADING] += loading_us
        time_use_us[TimeUse.CHECKPOINTING] += gone_us - loading_us - computed_us
        time_use_us[TimeUse.REDONE] += again_us
        time_use_us[TimeUse.USEFUL] += kept_us - again_us
        time_use_us[TimeUse.LOST] += computed_us - kept_us
        reached_us = job.kept_us + work_time.work_done(stay.work_us, stay.total_us, computed_us)
        job.reached_us = max(job.reached_us, reached_us)
        job.kept_us += work_time.work_done(stay.work_us, stay.total_us, kept_us)
        node.since_us = now_us

    def close(
        self, nodes: Iterable[SimulatedNode], waiting: Iterable[SimulatedJob], num_away: int
    ) -> RunResult:
        """Account for what is going on at the horizon, and return the outcome.

        Args:
            nodes: All nodes.
            waiting: Jobs in the queues and on their way back.
            num_away: How many of them are on their way back.

        Returns:
            Whole numbers that add up.
        """
        horizon_us = self._experiment.horizon_us
        in_hand = list(waiting)
        num_queued = len(in_hand) - num_away
        for node in nodes:
            if node.stay is None:
                self.end_phase(node, horizon_us)
                continue
            stay = node.stay
            computed_us = work_time.computed_us(
                stay.elapsed_us(horizon_us), stay.every_us, stay.checkpoint_us
            )
            self.end_stay(node, stay, horizon_us, computed_us, computed_us)
            in_hand.append(stay.job)
        for job in in_hand:
            self._work_us[job.stream_number] += job.kept_us
        return RunResult(
            experiment=self._experiment,
            arrived_us=np.array(self._arrived_us, np.int64),
            stream=np.array(self._stream, np.int16),
            wait_us=np.array(self._wait_us, np.int64),
            turnaround_us=np.array(self._took_us, np.int64),
            time_use_us=np.array(self._spent_us, np.int64).reshape(-1, len(TimeUse)),
            work_us=np.array(self._work_us, np.int64),
            in_hand=(num_queued, len(in_hand) - num_queued - num_away, num_away),
            events=np.array(self._events, np.int64),
            chart=np.array(self._chart, np.int64).reshape(-1, len(Gauge)),
            digest=self._digest,
        )
