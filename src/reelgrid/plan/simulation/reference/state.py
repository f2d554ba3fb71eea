"""State of the reference engine: nodes, jobs, executions, idle nodes and the ranking of jobs."""

from dataclasses import dataclass, field
from enum import Enum, auto

from reelgrid.jobs import policy
from reelgrid.jobs.policy import RunningJob, WaitingJob, WorkerCapacity
from reelgrid.plan.simulation import work_time
from reelgrid.plan.simulation.draws import Arrivals
from reelgrid.plan.simulation.experiment import (
    FOREVER_US,
    US,
    Experiment,
    JobStream,
    NodeKind,
    ZonePool,
)


class NodePhase(Enum):
    """What a node is doing."""

    ABSENT = auto()
    STARTING = auto()
    IDLE = auto()
    BUSY = auto()
    PREEMPTED = auto()


@dataclass(slots=True, kw_only=True)
class SimulatedJob:
    """A job from its arrival to its end.

    Attributes:
        kept_us: Work that is done and checkpointed.
        progress_mark_us: The most work that was ever done; what was lost has to be redone.
    """

    number: int
    stream_number: int
    stream: JobStream
    arrived_us: int
    work_us: int
    owner: int
    estimate_s: float
    fair_start_s: float
    rank: float
    kept_us: int = 0
    progress_mark_us: int = 0
    is_waiting: bool = False

    @property
    def id(self) -> str:
        """An identifier that sorts like the number."""
        return f"{self.number:012d}"

    @property
    def left_us(self) -> int:
        """Remaining work."""
        return self.work_us - self.kept_us

    def for_policy(self) -> WaitingJob:
        """Return the job as the policy sees it while it waits."""
        model, memory_gib, needs_trust = self.stream.queue
        return WaitingJob(
            id=self.id,
            rank=self.rank,
            estimate_s=work_time.remaining_estimate_s(self.estimate_s, self.left_us, self.work_us),
            memory_gib=memory_gib,
            model=model,
            needs_trust=needs_trust,
        )


@dataclass(slots=True, kw_only=True)
class Execution:
    """A job on a node, from its start until it finishes, is preempted or is lost.

    Attributes:
        start_us: Time of the start.
        load_us: Time to load the model.
        resume_us: Time to load the checkpoint.
        work_us: Remaining work at the start.
        total_us: Time that this work takes on the node.
        checkpoint_every_us: Computing time between checkpoints; 0 is no checkpoints.
        checkpoint_us: Time that a checkpoint takes.
        preempted_us: Time of the preemption.
    """

    job: SimulatedJob
    start_us: int
    load_us: int
    resume_us: int
    work_us: int
    total_us: int
    checkpoint_every_us: int
    checkpoint_us: int
    preempted_us: int | None = None

    @property
    def compute_us(self) -> int:
        """Time at which computing begins."""
        return self.start_us + self.load_us + self.resume_us

    @property
    def finish_us(self) -> int:
        """Time at which the job finishes if nothing interrupts it."""
        return self.compute_us + work_time.with_checkpoints_us(
            self.total_us, self.checkpoint_every_us, self.checkpoint_us
        )

    def elapsed_us(self, now_us: int) -> int:
        """Return the time since computing began, up to now or to the preemption."""
        until_us = now_us if self.preempted_us is None else self.preempted_us
        return max(0, until_us - self.compute_us)


@dataclass(slots=True, kw_only=True)
class SimulatedNode:
    """A node of the fleet, which is leased, lost and leased again.

    Attributes:
        lease: Number of earlier leases.
        epoch: Version of its scheduled finish; an event of an earlier epoch is void.
        is_draining: Whether its loss is announced: it takes no more jobs.
        is_warned: Whether the announcement came with the whole notice.
        phase_start_us: Time at which the phase began.
    """

    number: int
    pool_number: int
    pool: ZonePool
    kind: NodeKind
    phase: NodePhase = NodePhase.STARTING
    loaded: str | None = None
    lease: int = 0
    epoch: int = 0
    is_draining: bool = False
    is_warned: bool = False
    phase_start_us: int = 0
    execution: Execution | None = field(default=None)

    @property
    def is_up(self) -> bool:
        """Whether it is ready for a job or has one."""
        return self.phase in {NodePhase.IDLE, NodePhase.BUSY, NodePhase.PREEMPTED}

    def for_policy(self, experiment: Experiment) -> WorkerCapacity:
        """Return the node as the policy sees it."""
        return experiment.worker(self.pool.kind, self.loaded)

    def running(self, experiment: Experiment, now_us: int) -> RunningJob:
        """Return its running job as the policy sees it."""
        assert self.execution is not None
        return RunningJob(
            id=self.execution.job.id,
            rank=self.execution.job.rank,
            remaining_s=(self.execution.finish_us - now_us) / US,
            model=self.execution.job.stream.model,
            worker=self.for_policy(experiment),
            save_s=(experiment.checkpoint_us + experiment.resume_us) / US,
        )


def new_nodes(experiment: Experiment) -> list[SimulatedNode]:
    """Return the nodes in the order of the pools, all starting at time 0."""
    pools = [number for number, pool in enumerate(experiment.pools) for _ in range(pool.count)]
    return [
        SimulatedNode(
            number=number,
            pool_number=pool_number,
            pool=experiment.pools[pool_number],
            kind=experiment.kinds[experiment.pools[pool_number].kind],
        )
        for number, pool_number in enumerate(pools)
    ]


class IdleNodes:
    """Ready nodes without a job that are not draining, by loaded model; last in, first out."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._nodes: list[dict[str | None, dict[int, SimulatedNode]]] = [
            {loaded: {} for loaded in (None, *experiment.models)} for _ in experiment.kinds
        ]

    def add(self, node: SimulatedNode) -> None:
        """Add a node; its `loaded` must not change while it is listed."""
        self._nodes[node.pool.kind][node.loaded][node.number] = node

    def discard(self, node: SimulatedNode) -> None:
        """Remove a node, if it is listed."""
        self._nodes[node.pool.kind][node.loaded].pop(node.number, None)

    def best_for(self, job: SimulatedJob) -> SimulatedNode | None:
        """Return the node that would finish the job first; `None` if no idle node fits."""
        best_us, best = FOREVER_US, None
        for kind_number, kind in enumerate(self._experiment.kinds):
            if not self._experiment.fits[kind_number][job.stream_number]:
                continue
            node = self._last_idle(kind_number, job.stream.model)
            if node is None:
                continue
            us = work_time.execution_us(job.left_us, kind.time_factor[job.stream_number])
            us += 0 if node.loaded == job.stream.model else kind.load_us
            if us < best_us:
                best_us, best = us, node
        return best

    def _last_idle(self, kind_number: int, model: str) -> SimulatedNode | None:
        """Return the node that became idle last: with the model loaded, else with none, else any."""
        idle = self._nodes[kind_number]
        for loaded in (model, None, *self._experiment.models):
            if idle[loaded]:
                return idle[loaded][next(reversed(idle[loaded]))]
        return None


class FairShareRanker:
    """Ranks arriving jobs, each behind the unfinished jobs of its owner."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._unfinished: dict[int, dict[int, SimulatedJob]] = {}

    def admit(self, now_us: int, number: int, arrivals: Arrivals, index: int) -> SimulatedJob:
        """Return an arriving job with its rank."""
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
        """Remove a finished job."""
        if job.owner >= 0:
            del self._unfinished[job.owner][job.number]
