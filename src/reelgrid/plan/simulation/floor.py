"""The plain engine's view of who could start next: idle nodes by what they hold, jobs by owner."""

from reelgrid.jobs import policy
from reelgrid.plan.simulation import work_time
from reelgrid.plan.simulation.draws import Arrivals
from reelgrid.plan.simulation.experiment import FOREVER_US, US, Experiment
from reelgrid.plan.simulation.parts import SimulatedJob, SimulatedNode


class IdleNodes:
    """Nodes that are ready, without a job and not about to go; the last to be idle goes first."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._nodes: list[dict[str | None, dict[int, SimulatedNode]]] = [
            {warm: {} for warm in (None, *experiment.models)} for _ in experiment.kinds
        ]

    def add(self, node: SimulatedNode) -> None:
        """Add a node; its `warm` must not change while it is here."""
        self._nodes[node.pool.kind][node.warm][node.number] = node

    def discard(self, node: SimulatedNode) -> None:
        """Take a node off, if it is here."""
        self._nodes[node.pool.kind][node.warm].pop(node.number, None)

    def best_for(self, job: SimulatedJob) -> SimulatedNode | None:
        """Return the node that would finish the job first, or none that fits."""
        best_us, best = FOREVER_US, None
        for kind_number, kind in enumerate(self._experiment.kinds):
            if not self._experiment.fits[kind_number][job.stream_number]:
                continue
            node = self._last(kind_number, job.stream.model)
            if node is None:
                continue
            us = work_time.worker_us(job.left_us, kind.time_factor[job.stream_number])
            us += 0 if node.warm == job.stream.model else kind.load_us
            if us < best_us:
                best_us, best = us, node
        return best

    def _last(self, kind_number: int, model: str) -> SimulatedNode | None:
        """Return the last idle node with the model in its memory, else with nothing, else any."""
        idle = self._nodes[kind_number]
        for warm in (model, None, *self._experiment.models):
            if idle[warm]:
                return idle[warm][next(reversed(idle[warm]))]
        return None


class Admission:
    """Ranks jobs as they come, each behind the unfinished ones of its owner."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._unfinished: dict[int, dict[int, SimulatedJob]] = {}

    def admit(self, now_us: int, number: int, arrivals: Arrivals, index: int) -> SimulatedJob:
        """Return a new job with its rank."""
        stream_number, work_us = int(arrivals.stream[index]), int(arrivals.work_us[index])
        stream, owner = self._experiment.streams[stream_number], int(arrivals.owner[index])
        is_exact = self._experiment.estimates == "exact"
        estimate_s = (work_us if is_exact else stream.mean_work_us) / US
        now_s = now_us / US
        mine = self._unfinished.setdefault(owner, {}) if owner >= 0 else {}
        last = mine[next(reversed(mine))] if mine else None
        fair_start_s = (
            policy.fair_start_s(now_s, last.fair_start_s, last.estimate_s) if last else now_s
        )
        rank = policy.rank(
            submitted_s=now_s,
            fair_start_s=fair_start_s,
            estimate_s=estimate_s,
            priority=stream.priority,
            deadline_s=None if stream.deadline_us is None else now_s + stream.due_after_s,
        )
        job = SimulatedJob(
            number=number,
            stream_number=stream_number,
            stream=stream,
            arrived_us=now_us,
            work_us=work_us,
            owner=owner,
            estimate_s=estimate_s,
            fair_start_s=fair_start_s,
            rank=rank,
        )
        mine[number] = job
        return job

    def leave(self, job: SimulatedJob) -> None:
        """Forget a finished job."""
        if job.owner >= 0:
            del self._unfinished[job.owner][job.number]
