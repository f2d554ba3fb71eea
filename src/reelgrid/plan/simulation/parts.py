"""The things the plain engine moves: a job, a node, and the stay of one on the other."""

from dataclasses import dataclass, field
from enum import Enum, auto

from reelgrid.jobs.policy import RunningJob, WaitingJob, WorkerCapacity
from reelgrid.plan.simulation import work_time
from reelgrid.plan.simulation.experiment import US, Experiment, JobStream, NodeKind, ZonePool


class NodePhase(Enum):
    """What a node is about."""

    ABSENT = auto()
    STARTING = auto()
    IDLE = auto()
    BUSY = auto()
    PREEMPTED = auto()


@dataclass(slots=True, kw_only=True)
class SimulatedJob:
    """A job from its arrival to its end.

    Attributes:
        kept_us: Work that is done and safe.
        reached_us: Work that was ever done; what was lost of it has to be done again.
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
    reached_us: int = 0
    is_started: bool = False
    is_waiting: bool = False

    @property
    def id(self) -> str:
        """A name that sorts like the number."""
        return f"{self.number:012d}"

    @property
    def left_us(self) -> int:
        """Work that is left."""
        return self.work_us - self.kept_us

    def for_policy(self) -> WaitingJob:
        """Return the job as the policy sees it while it waits."""
        model, memory_gib, needs_trust = self.stream.queue
        return WaitingJob(
            id=self.id,
            rank=self.rank,
            estimate_s=work_time.estimate_left_s(self.estimate_s, self.left_us, self.work_us),
            memory_gib=memory_gib,
            model=model,
            needs_trust=needs_trust,
        )


@dataclass(slots=True, kw_only=True)
class Execution:
    """A job on a node, from its start to whatever ends it.

    Attributes:
        begin_us: When it was started.
        load_us: Time to load the model.
        resume_us: Time to take the saved state up.
        work_us: Work that was left.
        total_us: Time that this takes on the node.
        every_us: Time of work between saves; 0 is no saves.
        yield_us: When it was told to give way.
    """

    job: SimulatedJob
    begin_us: int
    load_us: int
    resume_us: int
    work_us: int
    total_us: int
    every_us: int
    checkpoint_us: int
    yield_us: int | None = None

    @property
    def compute_us(self) -> int:
        """When the work begins."""
        return self.begin_us + self.load_us + self.resume_us

    @property
    def finish_us(self) -> int:
        """When the job is finished if nothing comes between."""
        return self.compute_us + work_time.with_saves_us(
            self.total_us, self.every_us, self.checkpoint_us
        )

    def elapsed_us(self, now_us: int) -> int:
        """Return the time since the work began, until it was told to give way."""
        until_us = now_us if self.yield_us is None else self.yield_us
        return max(0, until_us - self.compute_us)


@dataclass(slots=True, kw_only=True)
class SimulatedNode:
    """A place of the fleet; whoever stands there is leased, lost and leased again.

    Attributes:
        lease: How many leases there were before this one.
        epoch: How often what it was about to finish has become void.
        is_draining: Whether its end is announced: it takes no more jobs.
        is_warned: Whether the announcement came with the whole notice.
        since_us: When the phase began.
    """

    number: int
    pool_number: int
    pool: ZonePool
    kind: NodeKind
    phase: NodePhase = NodePhase.STARTING
    warm: str | None = None
    lease: int = 0
    epoch: int = 0
    is_draining: bool = False
    is_warned: bool = False
    since_us: int = 0
    stay: Execution | None = field(default=None)

    @property
    def is_up(self) -> bool:
        """Whether it is ready for jobs, or has one."""
        return self.phase in {NodePhase.IDLE, NodePhase.BUSY, NodePhase.PREEMPTED}

    def for_policy(self, experiment: Experiment) -> WorkerCapacity:
        """Return the node as the policy sees it."""
        return experiment.worker(self.pool.kind, self.warm)

    def running(self, experiment: Experiment, now_us: int) -> RunningJob:
        """Return its job as the policy sees it."""
        assert self.stay is not None
        return RunningJob(
            id=self.stay.job.id,
            rank=self.stay.job.rank,
            remaining_s=(self.stay.finish_us - now_us) / US,
            model=self.stay.job.stream.model,
            worker=self.for_policy(experiment),
            save_s=(experiment.checkpoint_us + experiment.resume_us) / US,
        )


def places(experiment: Experiment) -> list[SimulatedNode]:
    """Return the nodes, pool after pool, all starting up at time 0."""
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
