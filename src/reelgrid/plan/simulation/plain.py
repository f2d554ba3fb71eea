"""The reference engine: a calendar of events, and the service's own policy asked at each turn.

One event at a time in plain Python, for reading, for small fleets, and as the oracle of the
compiled engine (`compiled`), which has to agree with it event for event.
"""

import heapq
from collections.abc import Callable

from reelgrid.jobs import policy
from reelgrid.plan.simulation import draws, work_time
from reelgrid.plan.simulation.books import Ledger
from reelgrid.plan.simulation.experiment import FOREVER_US, Experiment
from reelgrid.plan.simulation.floor import Admission, IdleNodes
from reelgrid.plan.simulation.parts import Execution, NodePhase, SimulatedJob, SimulatedNode, places
from reelgrid.plan.simulation.result import EventType, Gauge, RunResult

OnTime = Callable[[int], None]
"""Is told the simulated time reached, in microseconds."""


def run(experiment: Experiment, *, on_time: OnTime | None = None) -> RunResult:
    """Return the outcome of one run; the same experiment gives the same bytes.

    Args:
        experiment: The fleet, its jobs and the seed.
        on_time: Told of progress now and then.
    """
    engine = ReferenceEngine(experiment)
    for end_us, arrivals in draws.windows(experiment, num_jobs=5_000):
        engine.run_until(end_us, arrivals)
        if on_time is not None:
            on_time(end_us)
    return engine.close()


class ReferenceEngine:
    """One run: the calendar, the nodes, and the jobs that are not finished."""

    def __init__(self, experiment: Experiment, *, keeps_log: bool = False) -> None:
        self.experiment = experiment
        self.books = Ledger(experiment, keeps_log=keeps_log)
        self.nodes = places(experiment)
        self._calendar: list[tuple[int, int, int, int]] = []  # time, event, whom, of which epoch
        self._stays: list[draws.LeaseDraws] = []
        self._arrivals = (draws.Arrivals.none(), 0)
        self._strikes = draws.shared_losses(experiment)
        self._away: dict[int, SimulatedJob] = {}
        self._queues: dict[tuple[str, float, bool], list[tuple[float, int, SimulatedJob]]] = {
            queue: [] for queue in experiment.queues
        }
        self._idle = IdleNodes(experiment)
        self._admission = Admission(experiment)
        self.books.watched[Gauge.LEASED] = len(self.nodes)
        for node in self.nodes:
            self._put(int(self._times(0).startup_us[node.number]), EventType.READY, node.number)
        self._put_strike(0)

    def run_until(self, end_us: int, arrivals: draws.Arrivals) -> None:
        """Let happen what comes before `end_us`; `arrivals` are those since the last time."""
        self._arrivals = (arrivals, self.books.add_arrivals(arrivals))
        self._put_arrival(0)
        while self._calendar and self._calendar[0][0] < end_us:
            time_us, event, whom, epoch = heapq.heappop(self._calendar)
            self.books.watch_until(time_us)
            _HANDLERS[EventType(event)](self, time_us, whom, epoch)
        self.books.watch_until(end_us)

    def close(self) -> RunResult:
        """Return the outcome at the horizon."""
        waiting = [job for queue in self._queues.values() for _, _, job in queue]
        return self.books.close(self.nodes, waiting + list(self._away.values()), len(self._away))

    # jobs come and go

    def _arrive(self, now_us: int, index: int, _: int) -> None:
        arrivals, first = self._arrivals
        self._put_arrival(index + 1)
        job = self._admission.admit(now_us, first + index, arrivals, index)
        self.books.note(now_us, EventType.ARRIVE, job=job.number)
        self._enter(job, now_us)

    def _return(self, now_us: int, number: int, _: int) -> None:
        job = self._away.pop(number)
        self.books.note(now_us, EventType.REQUEUE, job=number)
        self._enter(job, now_us)

    def _enter(self, job: SimulatedJob, now_us: int) -> None:
        """Start a job on an idle node, or let it wait and see whether a running one gives way."""
        if not self._start_on_idle(job, now_us):
            self._wait(job)
            self._ask_to_yield(job, now_us)

    def _start_on_idle(self, job: SimulatedJob, now_us: int) -> bool:
        node = self._idle.best_for(job)
        if node is not None:
            self._start(node, job, now_us)
        return node is not None

    def _wait(self, job: SimulatedJob) -> None:
        heapq.heappush(self._queues[job.stream.queue], (job.rank, job.number, job))
        job.is_waiting = True
        self.books.watched[Gauge.WAITING] += 1

    def _ask_to_yield(self, job: SimulatedJob, now_us: int) -> None:
        experiment = self.experiment
        if not (experiment.has_preemption and experiment.has_checkpoints):
            return
        busy = [
            node for node in self.nodes if node.phase is NodePhase.BUSY and not node.is_draining
        ]
        running = [node.running(experiment, now_us) for node in busy]
        victim = policy.choose_victim(running, job.for_policy())
        if victim is not None:
            self._yield(busy[running.index(victim)], now_us)

    def _yield(self, node: SimulatedNode, now_us: int) -> None:
        """Tell a node to save its job's state and to give it back; nothing new is saved at once."""
        stay = node.stay
        assert stay is not None
        node.phase = NodePhase.PREEMPTED
        node.epoch += 1
        stay.yield_us = now_us
        checkpoint_us = stay.checkpoint_us if now_us > stay.compute_us else 0
        self.books.note(now_us, EventType.PREEMPT, node.number, stay.job.number)
        self._put(now_us + checkpoint_us, EventType.CHECKPOINTED, node.number, node.epoch)

    # a node and its job

    def _choose(self, node: SimulatedNode) -> SimulatedJob | None:
        """Ask the policy for the job that a free node takes, and take it off its queue."""
        heads = {queue[0][2].id: queue for queue in self._queues.values() if queue}
        worker = node.for_policy(self.experiment)
        taken = policy.choose(worker, (queue[0][2].for_policy() for queue in heads.values()))
        if taken is None:
            return None
        job = heapq.heappop(heads[taken.id])[2]
        job.is_waiting = False
        self.books.watched[Gauge.WAITING] -= 1
        return job

    def _free(self, node: SimulatedNode, now_us: int) -> None:
        """Let a node that is ready and without a job take one, or stand idle."""
        node.phase, node.since_us, node.stay = NodePhase.IDLE, now_us, None
        if node.is_draining:
            return
        self._idle.add(node)
        job = self._choose(node)
        if job is not None:
            self._start(node, job, now_us)

    def _start(self, node: SimulatedNode, job: SimulatedJob, now_us: int) -> None:
        self._idle.discard(node)
        self.books.end_phase(node, now_us)
        experiment, is_resumed = self.experiment, job.kept_us > 0
        time_factor = node.kind.time_factor[job.stream_number]
        node.stay = Execution(
            job=job,
            begin_us=now_us,
            load_us=0 if node.warm == job.stream.model else node.kind.load_us,
            resume_us=experiment.resume_us if is_resumed else 0,
            work_us=job.left_us,
            total_us=work_time.worker_us(job.left_us, time_factor),
            every_us=node.pool.checkpoint_every_us if experiment.has_checkpoints else 0,
            checkpoint_us=experiment.checkpoint_us,
        )
        node.phase, node.warm = NodePhase.BUSY, job.stream.model
        node.epoch += 1
        self.books.watched[Gauge.BUSY] += 1
        self.books.note_started(job, now_us)
        self.books.note(now_us, EventType.START, node.number, job.number)
        self._put(node.stay.finish_us, EventType.FINISH, node.number, node.epoch)

    def _finish(self, now_us: int, number: int, epoch: int) -> None:
        node = self.nodes[number]
        if node.epoch != epoch:
            return
        stay = node.stay
        assert stay is not None
        self.books.note(now_us, EventType.FINISH, number, stay.job.number)
        self._end_stay(node, now_us, stay.total_us, stay.total_us)
        self.books.note_finished(stay.job, now_us)
        self._admission.leave(stay.job)
        self._free(node, now_us)

    def _saved(self, now_us: int, number: int, epoch: int) -> None:
        """A node has given its job back: another takes it, or it waits like any other."""
        node = self.nodes[number]
        if node.epoch != epoch:
            return
        stay = node.stay
        assert stay is not None
        self.books.note(now_us, EventType.CHECKPOINTED, number, stay.job.number)
        computed_us = _computed_us(stay, stay.elapsed_us(now_us))
        self._end_stay(node, now_us, computed_us, computed_us)
        if now_us < stay.begin_us + stay.load_us:
            node.warm = None
        is_started = self._start_on_idle(stay.job, now_us)
        if not is_started:
            self._wait(stay.job)
        self._free(node, now_us)
        if stay.job.is_waiting:
            self._ask_to_yield(stay.job, now_us)

    def _end_stay(self, node: SimulatedNode, now_us: int, computed_us: int, kept_us: int) -> None:
        assert node.stay is not None
        self.books.end_stay(node, node.stay, now_us, computed_us, kept_us)
        self.books.watched[Gauge.BUSY] -= 1
        node.epoch += 1
        node.stay = None

    # nodes come and go

    def _ready(self, now_us: int, number: int, _: int) -> None:
        node = self.nodes[number]
        self.books.note(now_us, EventType.READY, number)
        self.books.end_phase(node, now_us)
        self.books.watched[Gauge.UP] += 1
        end_us = now_us + int(self._times(node.lease).lifetime_us[number])
        notice_us = node.pool.notice_us
        if end_us < FOREVER_US:
            self._put(end_us, EventType.LOSS, number, node.lease)
            if end_us - notice_us <= now_us and notice_us > 0:
                node.is_draining = True
            elif notice_us > 0:
                self._put(end_us - notice_us, EventType.NOTICE, number, node.lease)
        self._free(node, now_us)

    def _announce(self, now_us: int, number: int, lease: int) -> None:
        """From now on a node takes no more jobs; the one it has goes on."""
        node = self.nodes[number]
        if node.lease != lease or node.is_draining:
            return
        self.books.note(now_us, EventType.NOTICE, number)
        node.is_draining = node.is_warned = True
        self._idle.discard(node)

    def _strike(self, now_us: int, index: int, _: int) -> None:
        """A loss that the whole pool shares reaches one node."""
        self._put_strike(index + 1)
        node = self.nodes[int(self._strikes[1][index])]
        if not node.is_up or node.is_draining:
            return
        if node.pool.notice_us == 0:
            self._lose(now_us, node.number, node.lease)
            return
        self._announce(now_us, node.number, node.lease)
        self._put(now_us + node.pool.notice_us, EventType.LOSS, node.number, node.lease)

    def _lose(self, now_us: int, number: int, lease: int) -> None:
        node = self.nodes[number]
        if node.lease != lease:
            return
        stay = node.stay
        self.books.note(now_us, EventType.LOSS, number, stay.job.number if stay else -1)
        if stay is None:
            self._idle.discard(node)
            self.books.end_phase(node, now_us)
        else:
            computed_us, kept_us = self._saved_from(node, stay, now_us)
            self._end_stay(node, now_us, computed_us, kept_us)
            missed_us = now_us + (0 if node.is_warned else self.experiment.lease_us)
            self._away[stay.job.number] = stay.job
            self._put(missed_us, EventType.REQUEUE, stay.job.number)
        self.books.watched[Gauge.UP] -= 1
        self.books.watched[Gauge.LEASED] -= 1
        node.phase, node.warm = NodePhase.ABSENT, None
        absence_us = int(self._times(node.lease).absence_us[number])
        node.lease += 1
        node.is_draining = node.is_warned = False
        self._put(now_us + absence_us, EventType.LEASE, number)

    def _saved_from(self, node: SimulatedNode, stay: Execution, now_us: int) -> tuple[int, int]:
        """Return how long a node that is lost has worked on its job, and what of it is saved.

        A node that was warned in time stops just early enough for a last save.
        """
        elapsed_us = stay.elapsed_us(now_us)
        if not self.experiment.has_checkpoints:
            return elapsed_us, 0
        if node.is_warned and node.pool.notice_us >= stay.checkpoint_us:
            computed_us = _computed_us(stay, max(0, elapsed_us - stay.checkpoint_us))
            return computed_us, computed_us
        return (
            _computed_us(stay, elapsed_us),
            work_time.saved_us(elapsed_us, stay.every_us, stay.checkpoint_us),
        )

    def _lease(self, now_us: int, number: int, _: int) -> None:
        node = self.nodes[number]
        self.books.note(now_us, EventType.LEASE, number)
        self.books.end_phase(node, now_us)
        self.books.watched[Gauge.LEASED] += 1
        node.phase = NodePhase.STARTING
        startup_us = int(self._times(node.lease).startup_us[number])
        self._put(now_us + startup_us, EventType.READY, number)

    # the calendar

    def _put(self, time_us: int, event: EventType, whom: int, epoch: int = 0) -> None:
        if time_us < self.experiment.horizon_us:
            heapq.heappush(self._calendar, (time_us, event, whom, epoch))

    def _put_arrival(self, index: int) -> None:
        at_us = self._arrivals[0].at_us
        if index < len(at_us):
            self._put(int(at_us[index]), EventType.ARRIVE, index)

    def _put_strike(self, index: int) -> None:
        if index < len(self._strikes[0]):
            self._put(int(self._strikes[0][index]), EventType.SHARED_LOSS, index)

    def _times(self, number: int) -> draws.LeaseDraws:
        while len(self._stays) <= number:
            self._stays.append(draws.stays(self.experiment, len(self._stays)))
        return self._stays[number]


_HANDLERS: dict[EventType, Callable[[ReferenceEngine, int, int, int], None]] = {
    EventType.FINISH: ReferenceEngine._finish,
    EventType.CHECKPOINTED: ReferenceEngine._saved,
    EventType.READY: ReferenceEngine._ready,
    EventType.REQUEUE: ReferenceEngine._return,
    EventType.NOTICE: ReferenceEngine._announce,
    EventType.SHARED_LOSS: ReferenceEngine._strike,
    EventType.LOSS: ReferenceEngine._lose,
    EventType.LEASE: ReferenceEngine._lease,
    EventType.ARRIVE: ReferenceEngine._arrive,
}


def _computed_us(stay: Execution, elapsed_us: int) -> int:
    return work_time.computed_us(elapsed_us, stay.every_us, stay.checkpoint_us)
