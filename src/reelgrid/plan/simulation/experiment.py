"""Input of the engines: kinds of nodes, pools of nodes and streams of jobs, in microseconds.

Times are whole microseconds, so that every sum is exact and both engines break ties alike.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from reelgrid.errors import RequestError
from reelgrid.jobs.policy import Priority, WaitingJob, WorkerCapacity, fits
from reelgrid.plan.simulation.config import Estimates

WorkDistribution = Literal["constant", "exponential", "log-normal"]

US = 1_000_000
"""Microseconds in a second."""

FOREVER_US = 2**62


def in_us(seconds: float) -> int:
    """Return a time span in whole microseconds; infinity becomes `FOREVER_US`."""
    return FOREVER_US if seconds * US >= FOREVER_US else round(seconds * US)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKind:
    """Nodes that are equal to the policy and to a job.

    Attributes:
        name: Name of the GPU.
        load_us: Time to load a model.
        memory_gib: Device memory that a job may use.
        is_trusted: Whether private jobs may run on it.
        time_factor: Time of a unit of work on it, by stream.
    """

    name: str
    load_us: int
    memory_gib: float
    is_trusted: bool
    time_factor: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZonePool:
    """Nodes of one kind in one zone, with `num_gpus` each; the rest as in `config.NodePool`."""

    name: str
    kind: int
    count: int
    num_gpus: int
    usd_per_h: float
    is_start_up_billed: bool
    lifetime_shape: float
    lifetime_scale_us: float
    correlation: float
    shared_loss_share: float
    notice_us: int
    absence_mean_us: int
    startup_median_us: int
    startup_sigma: float
    checkpoint_every_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStream:
    """Jobs of one Poisson process, which differ in work and owner only.

    Attributes:
        platform: Platform that sends them.
        model: Model they need.
        jobs_per_h: Rate in each hour from midnight, repeated.
        mean_work_us: Mean work, in time on the first kind of worker that fits.
        work: Distribution of the work.
        work_sigma: Standard deviation of the logarithm of the work, if log-normal.
        clip_s: Seconds of video that a job makes.
        published_share: Share of the video that is published.
        first_owner: Number of the first owner of its platform.
        num_owners: Owners of the platform; `None` is an owner per job.
        deadline_us: Time from arrival to deadline; `None` is no deadline.
    """

    platform: str
    model: str
    jobs_per_h: tuple[float, ...]
    mean_work_us: int
    work: WorkDistribution = "constant"
    work_sigma: float = 0.0
    clip_s: float = 60.0
    published_share: float = 1.0
    memory_gib: float = 0.0
    needs_trust: bool = False
    priority: Priority = Priority.NORMAL
    first_owner: int = 0
    num_owners: int | None = None
    deadline_us: int | None = None

    def __post_init__(self) -> None:
        if not self.jobs_per_h or not all(0 <= rate < math.inf for rate in self.jobs_per_h):
            raise RequestError(f"{self.platform}: a rate of jobs must be finite and at least 0")
        if self.mean_work_us < 1:
            raise RequestError(f"{self.platform}: the mean work must be above 0")

    @property
    def queue(self) -> tuple[str, float, bool]:
        """Model, memory and need of trust: jobs that agree in these are equal to every worker."""
        return (self.model, self.memory_gib, self.needs_trust)

    @property
    def due_after_s(self) -> float:
        """Seconds from arrival to deadline; infinite where there is none."""
        return math.inf if self.deadline_us is None else self.deadline_us / US


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A fleet, its jobs and the behaviour of the service; a run is a function of the seed.

    Attributes:
        checkpoint_us: Time that a checkpoint takes from the work.
        resume_us: Time to load a checkpoint.
        lease_us: Time until a loss without notice is detected.
        has_checkpoints: Whether jobs are checkpointed; without, no job is preempted and a lost job
            starts again.
    """

    kinds: tuple[NodeKind, ...]
    pools: tuple[ZonePool, ...]
    streams: tuple[JobStream, ...]
    horizon_us: int
    warm_up_us: int = 0
    seed: int = 0
    checkpoint_us: int = 0
    resume_us: int = 0
    lease_us: int = 20 * US
    has_preemption: bool = True
    has_checkpoints: bool = True
    estimates: Estimates = "exact"
    is_fleet_ready: bool = True
    chart_every_us: int = 300 * US

    def __post_init__(self) -> None:
        for stream in range(len(self.streams)):
            if not any(self.fits[kind][stream] for kind in range(len(self.kinds))):
                raise RequestError(
                    f"{self.streams[stream].platform}: no node of the fleet can run "
                    f"{self.streams[stream].model} (memory, or trust for private jobs)"
                )

    def without_checkpoints(self) -> "Experiment":
        """Return the same experiment without checkpoints."""
        return replace(self, has_checkpoints=False)

    @property
    def num_nodes(self) -> int:
        """Number of nodes of all pools."""
        return sum(pool.count for pool in self.pools)

    @property
    def num_owners(self) -> int:
        """Number of numbered owners."""
        return max((s.first_owner + (s.num_owners or 0) for s in self.streams), default=0)

    @cached_property
    def models(self) -> tuple[str, ...]:
        """All models, in the order of the streams."""
        return tuple(dict.fromkeys(stream.model for stream in self.streams))

    @cached_property
    def queues(self) -> tuple[tuple[str, float, bool], ...]:
        """All queues, in the order of the streams."""
        return tuple(dict.fromkeys(stream.queue for stream in self.streams))

    @cached_property
    def fits(self) -> tuple[tuple[bool, ...], ...]:
        """Whether the policy lets a kind (row) run a stream's jobs (column)."""
        return tuple(
            tuple(fits(self.worker(kind, None), _head(stream)) for stream in self.streams)
            for kind in range(len(self.kinds))
        )

    def worker(self, kind: int, loaded: str | None) -> WorkerCapacity:
        """Return a node as the policy sees it, with a model loaded or none."""
        return WorkerCapacity(
            memory_gib=self.kinds[kind].memory_gib,
            warm_models=frozenset() if loaded is None else frozenset([loaded]),
            load_s=self.kinds[kind].load_us / US,
            is_trusted=self.kinds[kind].is_trusted,
        )


def _head(stream: JobStream) -> WaitingJob:
    model, memory_gib, needs_trust = stream.queue
    return WaitingJob(
        id="", rank=0, estimate_s=0, memory_gib=memory_gib, model=model, needs_trust=needs_trust
    )
