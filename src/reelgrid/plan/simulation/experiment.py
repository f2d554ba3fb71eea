"""What the engines run: kinds of workers, pools of nodes and streams of jobs, in microseconds.

Whole microseconds, so that every sum is exact and two engines decide a tie alike. Not here: where
the figures come from (`build`), and any random draw (`draws`).
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from reelgrid.errors import RequestError
from reelgrid.jobs.policy import Priority, WaitingJob, WorkerCapacity, fits
from reelgrid.plan.simulation.config import Estimates

Work = Literal["constant", "exponential", "log-normal"]

US = 1_000_000
"""Microseconds in a second."""

FOREVER_US = 2**62


def in_us(seconds: float) -> int:
    """Return a time span in whole microseconds; infinity is `FOREVER_US`."""
    return FOREVER_US if seconds * US >= FOREVER_US else round(seconds * US)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKind:
    """Workers that are alike to the policy and to a job.

    Attributes:
        name: The GPU's.
        load_us: To load a model.
        memory_gib: Device memory that a job may use.
        is_trusted: Whether private jobs may run on it.
        time_factor: Time a unit of work takes on it, by stream.
    """

    name: str
    load_us: int
    memory_gib: float
    is_trusted: bool
    time_factor: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZonePool:
    """Nodes of one kind in one zone, of `num_gpus` each; the rest as in `config.NodePool`."""

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
    """Jobs that arrive by one Poisson process and differ in nothing but work and owner.

    Attributes:
        platform: Where they come from.
        model: The model they need.
        jobs_per_h: Their rate in each hour from midnight, over and over.
        mean_work_us: Mean work, in time on the first kind of worker that fits.
        work: Its distribution.
        work_sigma: Standard deviation of its logarithm, if log-normal.
        clip_s: Video that a job makes.
        published_share: Of the video that is made.
        first_owner: Number of the first owner of its platform.
        num_owners: Owners of the platform; none is one for each job.
        deadline_us: Time from arrival to deadline, or none.
    """

    platform: str
    model: str
    jobs_per_h: tuple[float, ...]
    mean_work_us: int
    work: Work = "constant"
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
            raise RequestError(f"{self.platform}: a rate of jobs is out of range: 0 or more")
        if self.mean_work_us < 1:
            raise RequestError(f"{self.platform}: the mean work has to be above 0")

    @property
    def queue(self) -> tuple[str, float, bool]:
        """What the policy looks at; jobs with the same of it are alike to every worker."""
        return (self.model, self.memory_gib, self.needs_trust)

    @property
    def due_after_s(self) -> float:
        """Seconds from arrival to deadline; infinite where there is none."""
        return math.inf if self.deadline_us is None else self.deadline_us / US


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One fleet, its jobs, and how the service behaves; one run of it is a function of the seed.

    Attributes:
        checkpoint_us: What a save takes from the work.
        resume_us: To take a saved state up again.
        lease_us: Time until a node that is lost without notice is missed.
        has_checkpoints: Whether a job's state is saved at all; without it nothing gives way, and a
            lost job begins anew.
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
        """Return the same with nothing ever saved."""
        return replace(self, has_checkpoints=False)

    @property
    def num_nodes(self) -> int:
        """All nodes of all pools."""
        return sum(pool.count for pool in self.pools)

    @property
    def num_owners(self) -> int:
        """Owners that have a number."""
        return max((s.first_owner + (s.num_owners or 0) for s in self.streams), default=0)

    @cached_property
    def models(self) -> tuple[str, ...]:
        """All models, in the order of the streams."""
        return tuple(dict.fromkeys(stream.model for stream in self.streams))

    @cached_property
    def queues(self) -> tuple[tuple[str, float, bool], ...]:
        """All sorts of jobs that the policy tells apart, in the order of the streams."""
        return tuple(dict.fromkeys(stream.queue for stream in self.streams))

    @cached_property
    def fits(self) -> tuple[tuple[bool, ...], ...]:
        """Whether the policy lets a kind (row) run a stream's jobs (column)."""
        return tuple(
            tuple(fits(self.worker(kind, None), _head(stream)) for stream in self.streams)
            for kind in range(len(self.kinds))
        )

    def worker(self, kind: int, warm: str | None) -> WorkerCapacity:
        """Return a worker as the policy sees it, with the model in its memory."""
        return WorkerCapacity(
            memory_gib=self.kinds[kind].memory_gib,
            warm_models=frozenset() if warm is None else frozenset([warm]),
            load_s=self.kinds[kind].load_us / US,
            is_trusted=self.kinds[kind].is_trusted,
        )


def _head(stream: JobStream) -> WaitingJob:
    model, memory_gib, needs_trust = stream.queue
    return WaitingJob(
        id="", rank=0, estimate_s=0, memory_gib=memory_gib, model=model, needs_trust=needs_trust
    )
