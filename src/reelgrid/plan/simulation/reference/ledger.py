"""Accounting of the reference engine: every microsecond of every node, every job and event."""

from collections.abc import Iterable

import numpy as np

from reelgrid.plan.simulation import work_time
from reelgrid.plan.simulation.draws import Arrivals
from reelgrid.plan.simulation.experiment import Experiment
from reelgrid.plan.simulation.reference.state import (
    Execution,
    NodePhase,
    SimulatedJob,
    SimulatedNode,
)
from reelgrid.plan.simulation.result import EventType, Gauge, RunResult, TimeUse, digest_after

_TIME_USE_OF = {
    NodePhase.ABSENT: TimeUse.ABSENT,
    NodePhase.STARTING: TimeUse.STARTING,
    NodePhase.IDLE: TimeUse.IDLE,
}


class Ledger:
    """Counts of a run.

    Attributes:
        log: Every event as (time, event, node, job), -1 for none; kept if `keeps_log`.
        gauges: Current values of what the chart shows, by `Gauge`.
    """

    def __init__(self, experiment: Experiment, *, keeps_log: bool = False) -> None:
        self.log: list[tuple[int, int, int, int]] = []
        self.gauges = [0] * len(Gauge)
        self._experiment = experiment
        self._keeps_log = keeps_log
        self._arrived_us: list[int] = []
        self._stream: list[int] = []
        self._wait_us: list[int] = []
        self._turnaround_us: list[int] = []
        self._time_use_us = [[0] * len(TimeUse) for _ in experiment.pools]
        self._work_us = [0] * len(experiment.streams)
        self._events = [0] * len(EventType)
        self._chart: list[list[int]] = []
        self._digest = 0

    def record(self, time_us: int, event: EventType, node: int = -1, job: int = -1) -> None:
        """Count an event."""
        self._events[event] += 1
        self._digest = digest_after(self._digest, time_us, event, node, job)
        if self._keeps_log:
            self.log.append((time_us, event, node, job))

    def add_arrivals(self, arrivals: Arrivals) -> int:
        """Add jobs that will arrive and return the number of the first."""
        first = len(self._arrived_us)
        self._arrived_us += arrivals.at_us.tolist()
        self._stream += arrivals.stream.tolist()
        self._wait_us += [-1] * len(arrivals)
        self._turnaround_us += [-1] * len(arrivals)
        return first

    def record_start(self, job: SimulatedJob, now_us: int) -> None:
        """Record how long a job waited, if this is its first start."""
        if self._wait_us[job.number] < 0:
            self._wait_us[job.number] = now_us - job.arrived_us

    def record_finish(self, job: SimulatedJob, now_us: int) -> None:
        """Record the turnaround time of a job."""
        assert job.kept_us == job.work_us
        self._turnaround_us[job.number] = now_us - job.arrived_us
        self._work_us[job.stream_number] += job.work_us

    def sample_chart_until(self, time_us: int) -> None:
        """Add the points of the chart up to `time_us`; no event comes before it."""
        while len(self._chart) * self._experiment.chart_every_us < time_us:
            self._chart.append(list(self.gauges))

    def end_phase(self, node: SimulatedNode, now_us: int) -> None:
        """Account for a phase without a job and begin the next phase."""
        self._time_use_us[node.pool_number][_TIME_USE_OF[node.phase]] += (
            now_us - node.phase_start_us
        )
        node.phase_start_us = now_us

    def end_execution(
        self, node: SimulatedNode, execution: Execution, now_us: int, computed_us: int, kept_us: int
    ) -> None:
        """Account for the time of a job on a node and for its work.

        Args:
            node: The node.
            execution: The execution.
            now_us: Its end.
            computed_us: Time spent computing.
            kept_us: Part of it whose work is not lost.
        """
        job, elapsed_in_all_us = execution.job, now_us - execution.start_us
        loading_us = min(elapsed_in_all_us, execution.load_us)
        redone_us = work_time.redone_us(
            kept_us, execution.total_us, execution.work_us, job.progress_mark_us - job.kept_us
        )
        time_use_us = self._time_use_us[node.pool_number]
        time_use_us[TimeUse.LOADING] += loading_us
        time_use_us[TimeUse.CHECKPOINTING] += elapsed_in_all_us - loading_us - computed_us
        time_use_us[TimeUse.REDONE] += redone_us
        time_use_us[TimeUse.USEFUL] += kept_us - redone_us
        time_use_us[TimeUse.LOST] += computed_us - kept_us
        progress_mark_us = job.kept_us + work_time.work_done(
            execution.work_us, execution.total_us, computed_us
        )
        job.progress_mark_us = max(job.progress_mark_us, progress_mark_us)
        job.kept_us += work_time.work_done(execution.work_us, execution.total_us, kept_us)
        node.phase_start_us = now_us

    def close(
        self,
        nodes: Iterable[SimulatedNode],
        waiting: Iterable[SimulatedJob],
        num_awaiting_requeue: int,
    ) -> RunResult:
        """Account for what is in progress at the horizon and return the result.

        Args:
            nodes: All nodes.
            waiting: Jobs in the queues and jobs whose loss is not detected yet.
            num_awaiting_requeue: Number of the latter.

        Returns:
            The result of the run.
        """
        horizon_us = self._experiment.horizon_us
        unfinished = list(waiting)
        num_queued = len(unfinished) - num_awaiting_requeue
        for node in nodes:
            if node.execution is None:
                self.end_phase(node, horizon_us)
                continue
            execution = node.execution
            computed_us = work_time.computed_us(
                execution.elapsed_us(horizon_us),
                execution.checkpoint_every_us,
                execution.checkpoint_us,
            )
            self.end_execution(node, execution, horizon_us, computed_us, computed_us)
            unfinished.append(execution.job)
        for job in unfinished:
            self._work_us[job.stream_number] += job.kept_us
        return RunResult(
            experiment=self._experiment,
            arrived_us=np.array(self._arrived_us, np.int64),
            stream=np.array(self._stream, np.int16),
            wait_us=np.array(self._wait_us, np.int64),
            turnaround_us=np.array(self._turnaround_us, np.int64),
            time_use_us=np.array(self._time_use_us, np.int64).reshape(-1, len(TimeUse)),
            work_us=np.array(self._work_us, np.int64),
            unfinished=(
                num_queued,
                len(unfinished) - num_queued - num_awaiting_requeue,
                num_awaiting_requeue,
            ),
            events=np.array(self._events, np.int64),
            chart=np.array(self._chart, np.int64).reshape(-1, len(Gauge)),
            digest=self._digest,
        )
