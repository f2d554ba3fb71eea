"""The reference engine: a calendar of events, and the service's own policy asked at each turn.

One event at a time in plain Python, for reading, for small fleets, and as the oracle of the
compiled engine (`compiled`), which has to agree with it event for event.
"""

import heapq
from collections.abc import Callable

from reelgrid.jobs import policy
from reelgrid.plan.simulation import arithmetic, tape
from reelgrid.plan.simulation.books import Books
from reelgrid.plan.simulation.experiment import FOREVER_US, Experiment
from reelgrid.plan.simulation.floor import Admission, IdleNodes
from reelgrid.plan.simulation.outcome import Event, Outcome, Seen
from reelgrid.plan.simulation.parts import Job, Node, Phase, Stay, places

Told = Callable[[int], None]
"""Is told the simulated time reached, in microseconds."""


def run(experiment: Experiment, *, on_time: Told | None = None) -> Outcome:
    """Return the outcome of one run; the same experiment gives the same bytes.

    Args:
        experiment: The fleet, its jobs and the seed.
        on_time: Told of progress now and then.
    """
    engine = PlainEngine(experiment)
    for end_us, arrivals in tape.windows(experiment, num_jobs=5_000):
        engine.run_until(end_us, arrivals)
        if on_time is not None:
            on_time(end_us)
    return engine.close()


class PlainEngine:
    """One run: the calendar, the nodes, and the jobs that are not finished."""

    def __init__(self, experiment: Experiment, *, keeps_log: bool = False) -> None:
        self.experiment = experiment
        self.books = Books(experiment, keeps_log=keeps_log)
        self.nodes = places(experiment)
        self._calendar: list[tuple[int, int, int, int]] = []  # time, event, whom, of which epoch
        self._stays: list[tape.Stays] = []
        self._arrivals = (tape.Arrivals.none(), 0)
        self._strikes = tape.strikes(experiment)
        self._away: dict[int, Job] = {}
        self._queues: dict[tuple[str, float, bool], list[tuple[float, int, Job]]] = {
            queue: [] for queue in experiment.queues
        }
        self._idle = IdleNodes(experiment)
        self._admission = Admission(experiment)
        self.books.watched[Seen.LEASED] = len(self.nodes)
        for node in self.nodes:
            self._put(int(self._times(0).startup_us[node.number]), Event.READY, node.number)
        self._put_strike(0)

    def run_until(self, end_us: int, arrivals: tape.Arrivals) -> None:
        """Let happen what comes before `end_us`; `arrivals` are those since the last time."""
        self._arrivals = (arrivals, self.books.add_arrivals(arrivals))
        self._put_arrival(0)
        while self._calendar and self._calendar[0][0] < end_us:
            time_us, event, whom, epoch = heapq.heappop(self._calendar)
            self.books.watch_until(time_us)
            _HANDLERS[Event(event)](self, time_us, whom, epoch)
        self.books.watch_until(end_us)

    def close(self) -> Outcome:
        """Return the outcome at the horizon."""
        waiting = [job for queue in self._queues.values() for _, _, job in queue]
        return self.books.close(self.nodes, waiting + list(self._away.values()), len(self._away))

    # jobs come and go

    def _arrive(self, now_us: int, index: int, _: int) -> None:
        arrivals, first = self._arrivals
        self._put_arrival(index + 1)
        job = self._admission.admit(now_us, first + index, arrivals, index)
        self.books.note(now_us, Event.ARRIVE, job=job.number)
        self._enter(job, now_us)

    def _return(self, now_us: int, number: int, _: int) -> None:
        job = self._away.pop(number)
        self.books.note(now_us, Event.RETURN, job=number)
        self._enter(job, now_us)

    def _enter(self, job: Job, now_us: int) -> None:
        """Start a job on an idle node, or let it wait and see whether a running one gives way."""
        if not self._start_on_idle(job, now_us):
            self._wait(job)
            self._ask_to_yield(job, now_us)

    def _start_on_idle(self, job: Job, now_us: int) -> bool:
        node = self._idle.best_for(job)
        if node is not None:
            self._start(node, job, now_us)
        return node is not None

    def _wait(self, job: Job) -> None:
        heapq.heappush(self._queues[job.stream.queue], (job.rank, job.number, job))
        job.is_waiting = True
        self.books.watched[Seen.WAITING] += 1

    def _ask_to_yield(self, job: Job, now_us: int) -> None:
        experiment = self.experiment
        if not (experiment.has_preemption and experiment.keeps_state):
            return
        busy = [node for node in self.nodes if node.phase is Phase.BUSY and not node.is_draining]
        running = [node.running(experiment, now_us) for node in busy]
        victim = policy.whom_to_preempt(running, job.for_policy())
        if victim is not None:
            self._yield(busy[running.index(victim)], now_us)

    def _yield(self, node: Node, now_us: int) -> None:
        """Tell a node to save its job's state and to give it back; nothing new is saved at once."""
        stay = node.stay
        assert stay is not None
        node.phase = Phase.YIELDING
        node.epoch += 1
        stay.yield_us = now_us
        save_us = stay.save_us if now_us > stay.compute_us else 0
        self.books.note(now_us, Event.YIELD, node.number, stay.job.number)
        self._put(now_us + save_us, Event.SAVED, node.number, node.epoch)

    # a node and its job

    def _choose(self, node: Node) -> Job | None:
        """Ask the policy for the job that a free node takes, and take it off its queue."""
        heads = {queue[0][2].id: queue for queue in self._queues.values() if queue}
        worker = node.for_policy(self.experiment)
        taken = policy.choose(worker, (queue[0][2].for_policy() for queue in heads.values()))
        if taken is None:
            return None
        job = heapq.heappop(heads[taken.id])[2]
        job.is_waiting = False
        self.books.watched[Seen.WAITING] -= 1
        return job

    def _free(self, node: Node, now_us: int) -> None:
        """Let a node that is ready and without a job take one, or stand idle."""
        node.phase, node.since_us, node.stay = Phase.IDLE, now_us, None
        if node.is_draining:
            return
        self._idle.add(node)
        job = self._choose(node)
        if job is not None:
            self._start(node, job, now_us)

    def _start(self, node: Node, job: Job, now_us: int) -> None:
        self._idle.discard(node)
        self.books.end_phase(node, now_us)
        experiment, is_resumed = self.experiment, job.kept_us > 0
        slowness = node.kind.slowness[job.stream_number]
        node.stay = Stay(
            job=job,
            begin_us=now_us,
            load_us=0 if node.warm == job.stream.model else node.kind.load_us,
            resume_us=experiment.resume_us if is_resumed else 0,
            work_us=job.left_us,
            total_us=arithmetic.worker_us(job.left_us, slowness),
            every_us=node.pool.save_every_us if experiment.keeps_state else 0,
            save_us=experiment.save_us,
        )
        node.phase, node.warm = Phase.BUSY, job.stream.model
        node.epoch += 1
        self.books.watched[Seen.BUSY] += 1
        self.books.note_started(job, now_us)
        self.books.note(now_us, Event.START, node.number, job.number)
        self._put(node.stay.finish_us, Event.FINISH, node.number, node.epoch)

    def _finish(self, now_us: int, number: int, epoch: int) -> None:
        node = self.nodes[number]
        if node.epoch != epoch:
            return
        stay = node.stay
        assert stay is not None
        self.books.note(now_us, Event.FINISH, number, stay.job.number)
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
        self.books.note(now_us, Event.SAVED, number, stay.job.number)
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

    def _end_stay(self, node: Node, now_us: int, computed_us: int, kept_us: int) -> None:
        assert node.stay is not None
        self.books.end_stay(node, node.stay, now_us, computed_us, kept_us)
        self.books.watched[Seen.BUSY] -= 1
        node.epoch += 1
        node.stay = None

    # nodes come and go

    def _ready(self, now_us: int, number: int, _: int) -> None:
        node = self.nodes[number]
        self.books.note(now_us, Event.READY, number)
        self.books.end_phase(node, now_us)
        self.books.watched[Seen.UP] += 1
        end_us = now_us + int(self._times(node.lease).life_us[number])
        notice_us = node.pool.notice_us
        if end_us < FOREVER_US:
            self._put(end_us, Event.LOSS, number, node.lease)
            if end_us - notice_us <= now_us and notice_us > 0:
                node.is_draining = True
            elif notice_us > 0:
                self._put(end_us - notice_us, Event.NOTICE, number, node.lease)
        self._free(node, now_us)

    def _announce(self, now_us: int, number: int, lease: int) -> None:
        """From now on a node takes no more jobs; the one it has goes on."""
        node = self.nodes[number]
        if node.lease != lease or node.is_draining:
            return
        self.books.note(now_us, Event.NOTICE, number)
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
        self._put(now_us + node.pool.notice_us, Event.LOSS, node.number, node.lease)

    def _lose(self, now_us: int, number: int, lease: int) -> None:
        node = self.nodes[number]
        if node.lease != lease:
            return
        stay = node.stay
        self.books.note(now_us, Event.LOSS, number, stay.job.number if stay else -1)
        if stay is None:
            self._idle.discard(node)
            self.books.end_phase(node, now_us)
        else:
            computed_us, kept_us = self._saved_from(node, stay, now_us)
            self._end_stay(node, now_us, computed_us, kept_us)
            missed_us = now_us + (0 if node.is_warned else self.experiment.lease_us)
            self._away[stay.job.number] = stay.job
            self._put(missed_us, Event.RETURN, stay.job.number)
        self.books.watched[Seen.UP] -= 1
        self.books.watched[Seen.LEASED] -= 1
        node.phase, node.warm = Phase.ABSENT, None
        absence_us = int(self._times(node.lease).absence_us[number])
        node.lease += 1
        node.is_draining = node.is_warned = False
        self._put(now_us + absence_us, Event.LEASE, number)

    def _saved_from(self, node: Node, stay: Stay, now_us: int) -> tuple[int, int]:
        """Return how long a node that is lost has worked on its job, and what of it is saved.

        A node that was warned in time stops just early enough for a last save.
        """
        elapsed_us = stay.elapsed_us(now_us)
        if not self.experiment.keeps_state:
            return elapsed_us, 0
        if node.is_warned and node.pool.notice_us >= stay.save_us:
            computed_us = _computed_us(stay, max(0, elapsed_us - stay.save_us))
            return computed_us, computed_us
        return (
            _computed_us(stay, elapsed_us),
            arithmetic.saved_us(elapsed_us, stay.every_us, stay.save_us),
        )

    def _lease(self, now_us: int, number: int, _: int) -> None:
        node = self.nodes[number]
        self.books.note(now_us, Event.LEASE, number)
        self.books.end_phase(node, now_us)
        self.books.watched[Seen.LEASED] += 1
        node.phase = Phase.STARTING
        startup_us = int(self._times(node.lease).startup_us[number])
        self._put(now_us + startup_us, Event.READY, number)

    # the calendar

    def _put(self, time_us: int, event: Event, whom: int, epoch: int = 0) -> None:
        if time_us < self.experiment.horizon_us:
            heapq.heappush(self._calendar, (time_us, event, whom, epoch))

    def _put_arrival(self, index: int) -> None:
        at_us = self._arrivals[0].at_us
        if index < len(at_us):
            self._put(int(at_us[index]), Event.ARRIVE, index)

    def _put_strike(self, index: int) -> None:
        if index < len(self._strikes[0]):
            self._put(int(self._strikes[0][index]), Event.STRIKE, index)

    def _times(self, number: int) -> tape.Stays:
        while len(self._stays) <= number:
            self._stays.append(tape.stays(self.experiment, len(self._stays)))
        return self._stays[number]


_HANDLERS: dict[Event, Callable[[PlainEngine, int, int, int], None]] = {
    Event.FINISH: PlainEngine._finish,
    Event.SAVED: PlainEngine._saved,
    Event.READY: PlainEngine._ready,
    Event.RETURN: PlainEngine._return,
    Event.NOTICE: PlainEngine._announce,
    Event.STRIKE: PlainEngine._strike,
    Event.LOSS: PlainEngine._lose,
    Event.LEASE: PlainEngine._lease,
    Event.ARRIVE: PlainEngine._arrive,
}


def _computed_us(stay: Stay, elapsed_us: int) -> int:
    return arithmetic.computed_us(elapsed_us, stay.every_us, stay.save_us)
