"""The reference engine: a heap of events in plain Python; the service's own policy decides.

For reading, for small fleets, and as the oracle of the fast engine, which has to agree with it
event for event.
"""

import heapq
from collections.abc import Callable

from reelgrid.jobs import policy
from reelgrid.plan.simulation import draws, work_time
from reelgrid.plan.simulation.experiment import FOREVER_US, Experiment
from reelgrid.plan.simulation.reference.ledger import Ledger
from reelgrid.plan.simulation.reference.state import (
    Execution,
    FairShareRanker,
    IdleNodes,
    NodePhase,
    SimulatedJob,
    SimulatedNode,
    new_nodes,
)
from reelgrid.plan.simulation.result import EventType, Gauge, RunResult


def run(experiment: Experiment, *, on_time: Callable[[int], None] | None = None) -> RunResult:
    """Return the result of one run; the same experiment gives the same bytes.

    Args:
        experiment: The fleet, its jobs and the seed.
        on_time: Called with the simulated time reached, in microseconds.
    """
    engine = ReferenceEngine(experiment)
    for end_us, arrivals in draws.windows(experiment, num_jobs=5_000):
        engine.run_until(end_us, arrivals)
        if on_time is not None:
            on_time(end_us)
    return engine.close()


class ReferenceEngine:
    """One run: the event heap, the nodes and the unfinished jobs."""

    def __init__(self, experiment: Experiment, *, keeps_log: bool = False) -> None:
        self.experiment = experiment
        self.ledger = Ledger(experiment, keeps_log=keeps_log)
        self.nodes = new_nodes(experiment)
        self._heap: list[tuple[int, int, int, int]] = []  # time, event, subject, epoch
        self._leases: list[draws.LeaseDraws] = []
        self._arrivals = (draws.Arrivals.empty(), 0)
        self._shared_losses = draws.shared_losses(experiment)
        self._awaiting_requeue: dict[int, SimulatedJob] = {}
        self._queues: dict[tuple[str, float, bool], list[tuple[float, int, SimulatedJob]]] = {
            queue: [] for queue in experiment.queues
        }
        self._idle = IdleNodes(experiment)
        self._ranker = FairShareRanker(experiment)
        self.ledger.gauges[Gauge.LEASED] = len(self.nodes)
        for node in self.nodes:
            self._schedule(
                int(self._lease_draws(0).startup_us[node.number]), EventType.READY, node.number
            )
        self._schedule_shared_loss(0)

    def run_until(self, end_us: int, arrivals: draws.Arrivals) -> None:
        """Handle every event before `end_us`; `arrivals` are the jobs since the previous call."""
        self._arrivals = (arrivals, self.ledger.add_arrivals(arrivals))
        self._schedule_arrival(0)
        while self._heap and self._heap[0][0] < end_us:
            time_us, event, subject, epoch = heapq.heappop(self._heap)
            self.ledger.sample_chart_until(time_us)
            _HANDLERS[EventType(event)](self, time_us, subject, epoch)
        self.ledger.sample_chart_until(end_us)

    def close(self) -> RunResult:
        """Return the result at the horizon."""
        waiting = [job for queue in self._queues.values() for _, _, job in queue]
        return self.ledger.close(
            self.nodes, waiting + list(self._awaiting_requeue.values()), len(self._awaiting_requeue)
        )

    # events of jobs

    def _arrive(self, now_us: int, index: int, _: int) -> None:
        arrivals, first = self._arrivals
        self._schedule_arrival(index + 1)
        job = self._ranker.admit(now_us, first + index, arrivals, index)
        self.ledger.record(now_us, EventType.ARRIVE, job=job.number)
        self._dispatch(job, now_us)

    def _requeue(self, now_us: int, number: int, _: int) -> None:
        job = self._awaiting_requeue.pop(number)
        self.ledger.record(now_us, EventType.REQUEUE, job=number)
        self._dispatch(job, now_us)

    def _dispatch(self, job: SimulatedJob, now_us: int) -> None:
        """Start a job on an idle node, or queue it and preempt a running job if the policy says so."""
        if not self._start_on_idle_node(job, now_us):
            self._enqueue(job)
            self._preempt_for(job, now_us)

    def _start_on_idle_node(self, job: SimulatedJob, now_us: int) -> bool:
        node = self._idle.best_for(job)
        if node is not None:
            self._start(node, job, now_us)
        return node is not None

    def _enqueue(self, job: SimulatedJob) -> None:
        heapq.heappush(self._queues[job.stream.queue], (job.rank, job.number, job))
        job.is_waiting = True
        self.ledger.gauges[Gauge.WAITING] += 1

    def _preempt_for(self, job: SimulatedJob, now_us: int) -> None:
        experiment = self.experiment
        if not (experiment.has_preemption and experiment.has_checkpoints):
            return
        busy = [
            node for node in self.nodes if node.phase is NodePhase.BUSY and not node.is_draining
        ]
        running = [node.running(experiment, now_us) for node in busy]
        victim = policy.choose_victim(running, job.for_policy())
        if victim is not None:
            self._preempt(busy[running.index(victim)], now_us)

    def _preempt(self, node: SimulatedNode, now_us: int) -> None:
        """Make a node checkpoint its job and release it; without new work there is no checkpoint."""
        execution = node.execution
        assert execution is not None
        node.phase = NodePhase.PREEMPTED
        node.epoch += 1
        execution.preempted_us = now_us
        checkpoint_us = execution.checkpoint_us if now_us > execution.compute_us else 0
        self.ledger.record(now_us, EventType.PREEMPT, node.number, execution.job.number)
        self._schedule(now_us + checkpoint_us, EventType.CHECKPOINTED, node.number, node.epoch)

    # executions

    def _take_job(self, node: SimulatedNode) -> SimulatedJob | None:
        """Take the job that the policy gives a free node off its queue."""
        heads = {queue[0][2].id: queue for queue in self._queues.values() if queue}
        worker = node.for_policy(self.experiment)
        taken = policy.choose(worker, (queue[0][2].for_policy() for queue in heads.values()))
        if taken is None:
            return None
        job = heapq.heappop(heads[taken.id])[2]
        job.is_waiting = False
        self.ledger.gauges[Gauge.WAITING] -= 1
        return job

    def _release(self, node: SimulatedNode, now_us: int) -> None:
        """Let a ready node without a job take one, or make it idle."""
        node.phase, node.phase_start_us, node.execution = NodePhase.IDLE, now_us, None
        if node.is_draining:
            return
        self._idle.add(node)
        job = self._take_job(node)
        if job is not None:
            self._start(node, job, now_us)

    def _start(self, node: SimulatedNode, job: SimulatedJob, now_us: int) -> None:
        self._idle.discard(node)
        self.ledger.end_phase(node, now_us)
        experiment, is_resumed = self.experiment, job.kept_us > 0
        time_factor = node.kind.time_factor[job.stream_number]
        node.execution = Execution(
            job=job,
            start_us=now_us,
            load_us=0 if node.loaded == job.stream.model else node.kind.load_us,
            resume_us=experiment.resume_us if is_resumed else 0,
            work_us=job.left_us,
            total_us=work_time.execution_us(job.left_us, time_factor),
            checkpoint_every_us=node.pool.checkpoint_every_us if experiment.has_checkpoints else 0,
            checkpoint_us=experiment.checkpoint_us,
        )
        node.phase, node.loaded = NodePhase.BUSY, job.stream.model
        node.epoch += 1
        self.ledger.gauges[Gauge.BUSY] += 1
        self.ledger.record_start(job, now_us)
        self.ledger.record(now_us, EventType.START, node.number, job.number)
        self._schedule(node.execution.finish_us, EventType.FINISH, node.number, node.epoch)

    def _finish(self, now_us: int, number: int, epoch: int) -> None:
        node = self.nodes[number]
        if node.epoch != epoch:
            return
        execution = node.execution
        assert execution is not None
        self.ledger.record(now_us, EventType.FINISH, number, execution.job.number)
        self._end_execution(node, now_us, execution.total_us, execution.total_us)
        self.ledger.record_finish(execution.job, now_us)
        self._ranker.leave(execution.job)
        self._release(node, now_us)

    def _checkpointed(self, now_us: int, number: int, epoch: int) -> None:
        """A preempted node has released its job, which starts on another node or joins its queue."""
        node = self.nodes[number]
        if node.epoch != epoch:
            return
        execution = node.execution
        assert execution is not None
        self.ledger.record(now_us, EventType.CHECKPOINTED, number, execution.job.number)
        computed_us = _computed_us(execution, execution.elapsed_us(now_us))
        self._end_execution(node, now_us, computed_us, computed_us)
        if now_us < execution.start_us + execution.load_us:
            node.loaded = None
        is_started = self._start_on_idle_node(execution.job, now_us)
        if not is_started:
            self._enqueue(execution.job)
        self._release(node, now_us)
        if execution.job.is_waiting:
            self._preempt_for(execution.job, now_us)

    def _end_execution(
        self, node: SimulatedNode, now_us: int, computed_us: int, kept_us: int
    ) -> None:
        assert node.execution is not None
        self.ledger.end_execution(node, node.execution, now_us, computed_us, kept_us)
        self.ledger.gauges[Gauge.BUSY] -= 1
        node.epoch += 1
        node.execution = None

    # events of nodes

    def _ready(self, now_us: int, number: int, _: int) -> None:
        node = self.nodes[number]
        self.ledger.record(now_us, EventType.READY, number)
        self.ledger.end_phase(node, now_us)
        self.ledger.gauges[Gauge.UP] += 1
        end_us = now_us + int(self._lease_draws(node.lease).lifetime_us[number])
        notice_us = node.pool.notice_us
        if end_us < FOREVER_US:
            self._schedule(end_us, EventType.LOSS, number, node.lease)
            if end_us - notice_us <= now_us and notice_us > 0:
                node.is_draining = True
            elif notice_us > 0:
                self._schedule(end_us - notice_us, EventType.NOTICE, number, node.lease)
        self._release(node, now_us)

    def _notice(self, now_us: int, number: int, lease: int) -> None:
        """Drain a node: it takes no more jobs, its current job continues."""
        node = self.nodes[number]
        if node.lease != lease or node.is_draining:
            return
        self.ledger.record(now_us, EventType.NOTICE, number)
        node.is_draining = node.is_warned = True
        self._idle.discard(node)

    def _shared_loss(self, now_us: int, index: int, _: int) -> None:
        """A loss shared by the pool reaches one node."""
        self._schedule_shared_loss(index + 1)
        node = self.nodes[int(self._shared_losses[1][index])]
        if not node.is_up or node.is_draining:
            return
        if node.pool.notice_us == 0:
            self._loss(now_us, node.number, node.lease)
            return
        self._notice(now_us, node.number, node.lease)
        self._schedule(now_us + node.pool.notice_us, EventType.LOSS, node.number, node.lease)

    def _loss(self, now_us: int, number: int, lease: int) -> None:
        node = self.nodes[number]
        if node.lease != lease:
            return
        execution = node.execution
        self.ledger.record(
            now_us, EventType.LOSS, number, execution.job.number if execution else -1
        )
        if execution is None:
            self._idle.discard(node)
            self.ledger.end_phase(node, now_us)
        else:
            computed_us, kept_us = self._work_at_loss(node, execution, now_us)
            self._end_execution(node, now_us, computed_us, kept_us)
            detected_us = now_us + (0 if node.is_warned else self.experiment.lease_us)
            self._awaiting_requeue[execution.job.number] = execution.job
            self._schedule(detected_us, EventType.REQUEUE, execution.job.number)
        self.ledger.gauges[Gauge.UP] -= 1
        self.ledger.gauges[Gauge.LEASED] -= 1
        node.phase, node.loaded = NodePhase.ABSENT, None
        absence_us = int(self._lease_draws(node.lease).absence_us[number])
        node.lease += 1
        node.is_draining = node.is_warned = False
        self._schedule(now_us + absence_us, EventType.LEASE, number)

    def _work_at_loss(
        self, node: SimulatedNode, execution: Execution, now_us: int
    ) -> tuple[int, int]:
        """Return the time that a lost node computed on its job, and how much of it is checkpointed.

        A node that was warned in time stops just early enough for a last checkpoint.
        """
        elapsed_us = execution.elapsed_us(now_us)
        if not self.experiment.has_checkpoints:
            return elapsed_us, 0
        if node.is_warned and node.pool.notice_us >= execution.checkpoint_us:
            computed_us = _computed_us(execution, max(0, elapsed_us - execution.checkpoint_us))
            return computed_us, computed_us
        return (
            _computed_us(execution, elapsed_us),
            work_time.checkpointed_us(
                elapsed_us, execution.checkpoint_every_us, execution.checkpoint_us
            ),
        )

    def _lease(self, now_us: int, number: int, _: int) -> None:
        node = self.nodes[number]
        self.ledger.record(now_us, EventType.LEASE, number)
        self.ledger.end_phase(node, now_us)
        self.ledger.gauges[Gauge.LEASED] += 1
        node.phase = NodePhase.STARTING
        startup_us = int(self._lease_draws(node.lease).startup_us[number])
        self._schedule(now_us + startup_us, EventType.READY, number)

    # the event heap

    def _schedule(self, time_us: int, event: EventType, subject: int, epoch: int = 0) -> None:
        if time_us < self.experiment.horizon_us:
            heapq.heappush(self._heap, (time_us, event, subject, epoch))

    def _schedule_arrival(self, index: int) -> None:
        at_us = self._arrivals[0].at_us
        if index < len(at_us):
            self._schedule(int(at_us[index]), EventType.ARRIVE, index)

    def _schedule_shared_loss(self, index: int) -> None:
        if index < len(self._shared_losses[0]):
            self._schedule(int(self._shared_losses[0][index]), EventType.SHARED_LOSS, index)

    def _lease_draws(self, number: int) -> draws.LeaseDraws:
        while len(self._leases) <= number:
            self._leases.append(draws.lease_draws(self.experiment, len(self._leases)))
        return self._leases[number]


_HANDLERS: dict[EventType, Callable[[ReferenceEngine, int, int, int], None]] = {
    EventType.FINISH: ReferenceEngine._finish,
    EventType.CHECKPOINTED: ReferenceEngine._checkpointed,
    EventType.READY: ReferenceEngine._ready,
    EventType.REQUEUE: ReferenceEngine._requeue,
    EventType.NOTICE: ReferenceEngine._notice,
    EventType.SHARED_LOSS: ReferenceEngine._shared_loss,
    EventType.LOSS: ReferenceEngine._loss,
    EventType.LEASE: ReferenceEngine._lease,
    EventType.ARRIVE: ReferenceEngine._arrive,
}


def _computed_us(execution: Execution, elapsed_us: int) -> int:
    return work_time.computed_us(elapsed_us, execution.checkpoint_every_us, execution.checkpoint_us)
