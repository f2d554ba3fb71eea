"""The `[simulation]` part of a scenario file: the leased fleet, its jobs, the service's behaviour.

Values only, with the units of the file in their names.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from reelgrid.user_files.checking import FieldError

Estimates = Literal["exact", "mean"]

_Seconds: TypeAlias = Annotated[float, Field(ge=0, le=1e9)]
_Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
_NotNegative: TypeAlias = Annotated[float, Field(ge=0)]
_Positive: TypeAlias = Annotated[float, Field(gt=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePool:
    """`[[simulation.nodes]]`: nodes of one kind in one zone, which are lost together.

    A lost node is leased again after an absence, so that the pool keeps about `count` nodes. The
    lifetime of a node, from the moment it is ready, is exponential (`hazard_per_h`) or Weibull
    (`weibull_shape`, `weibull_scale_h`); with neither it is never lost.

    Attributes:
        gpu: Name of a GPU of `[[hardware]]`.
        count: Number of nodes; a node has the GPUs that work together on one clip.
        zone: Name of the zone.
        num_zones: Zones over which the nodes are spread evenly, with independent losses.
        usd_per_h: Price of a leased GPU-hour; `None` is the price of `[[hardware]]`.
        is_start_up_billed: Whether start-up is billed (Salad: no; Akash: yes).
        hazard_per_h: Losses per node-hour.
        weibull_shape: Shape of the lifetime; below 1 the hazard falls with age.
        weibull_scale_h: Scale of the lifetime in hours.
        correlation: Share of the hazard that comes from losses shared by the pool within 3 minutes.
        shared_loss_share: Share of the pool that a shared loss takes.
        notice_s: Notice before a loss.
        absence_mean_s: Mean of the exponential time until a lost node is leased again.
        startup_median_s: Median time from lease to ready: image pull and start of the process.
        startup_sigma: Standard deviation of the logarithm of the start-up time.
        load_s: Time to load a model into GPU memory.
        memory_gib: Device memory that a job may use; `None` is all memory of the GPU.
        is_trusted: Whether private jobs may run on it.
    """

    gpu: str
    count: Annotated[int, Field(ge=1, le=10_000_000)]
    zone: str = "one"
    num_zones: Annotated[int, Field(ge=1, le=10_000)] = 1
    usd_per_h: _NotNegative | None = None
    is_start_up_billed: bool = True
    hazard_per_h: Annotated[float, Field(ge=0, le=3600)] = 0.0
    weibull_shape: Annotated[float, Field(ge=0.1, le=10)] | None = None
    weibull_scale_h: Annotated[float, Field(ge=1 / 3600)] | None = None
    correlation: _Share = 0.0
    shared_loss_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    notice_s: _Seconds = 0.0
    absence_mean_s: _Seconds = 0.0
    startup_median_s: _Seconds = 0.0
    startup_sigma: Annotated[float, Field(ge=0, le=5)] = 0.0
    load_s: _Seconds = 0.0
    memory_gib: _Positive | None = None
    is_trusted: bool = True

    def __post_init__(self) -> None:
        if self.num_zones > self.count:
            raise FieldError(
                f"expected at most one zone a node, got {self.num_zones}", param="num_zones"
            )
        if (self.weibull_shape is None) != (self.weibull_scale_h is None):
            raise FieldError(
                "expected weibull_shape and weibull_scale_h together, got one",
                param="weibull_shape" if self.weibull_scale_h is None else "weibull_scale_h",
            )
        if self.weibull_shape is not None and self.hazard_per_h:
            raise FieldError(
                "expected hazard_per_h or a Weibull lifetime, got both", param="hazard_per_h"
            )

    @property
    def lifetime_shape(self) -> float:
        """Shape of the Weibull lifetime; 1 is exponential."""
        return self.weibull_shape or 1.0

    @property
    def lifetime_scale_s(self) -> float:
        """Scale of the Weibull lifetime; infinite for a node that is never lost."""
        if self.weibull_scale_h is not None:
            return self.weibull_scale_h * 3600
        return 3600 / self.hazard_per_h if self.hazard_per_h else math.inf

    @property
    def mean_lifetime_s(self) -> float:
        """Mean time from ready to lost; infinite for a node that is never lost."""
        return self.lifetime_scale_s * math.gamma(1 + 1 / self.lifetime_shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMix:
    """`[[simulation.jobs]]`: priorities, owners and requirements of the jobs of one platform.

    Attributes:
        platform: Name of a platform of the same file.
        low: Share of its arrivals with priority low.
        normal: Share with priority normal.
        high: Share with priority high.
        num_owners: Number of owners, who send equally often; `None` is one owner per job.
        private_share: Share that may run on trusted nodes only.
        deadline_s: Deadline in seconds after arrival.
        memory_gib: Device memory that a job needs; 0 fits everywhere.
    """

    platform: str
    low: _Share = 0.0
    normal: _Share = 1.0
    high: _Share = 0.0
    num_owners: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    private_share: _Share = 0.0
    deadline_s: _Positive | None = None
    memory_gib: _NotNegative = 0.0

    def __post_init__(self) -> None:
        total = self.low + self.normal + self.high
        if not math.isclose(total, 1.0, abs_tol=1e-9):
            raise FieldError(
                f"expected low, normal and high that add up to 1, got {total:g}", param="normal"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationConfig:
    """`[simulation]`: the fleet, the simulated time and the behaviour of the service.

    Attributes:
        nodes: The fleet.
        jobs: Job mixes of single platforms; the other platforms have the defaults of `JobMix`.
        hours: Simulated time, from midnight.
        efficiency: Share of a job's time at the speed given; the rest is waiting for hosts and
            networks. Times of jobs are divided by it.
        warm_up_h: Beginning of this time, whose jobs do not count in waits.
        seed: The same seed gives the same bytes.
        runs: Independent runs, for confidence intervals.
        checkpoint_every_s: Seconds of work between checkpoints; by default for each pool
            sqrt(2 x checkpoint_s x mean lifetime) (Young 1974; Daly 2006, equation 20, first term).
        checkpoint_s: Time that a checkpoint takes from the work.
        resume_s: Time to load a checkpoint.
        has_preemption: Whether waiting jobs may preempt running ones.
        lease_s: Time until a loss without notice is detected (`reelgrid serve`: 20).
        estimates: The job queue's estimate of a job: its exact time, or the mean of its stream.
        is_fleet_ready: Whether all nodes are ready at the beginning; otherwise they start up.
        chart_every_s: Seconds between the points of the chart.
    """

    nodes: tuple[NodePool, ...]
    jobs: tuple[JobMix, ...] = ()
    hours: Annotated[float, Field(gt=0, le=24 * 3660)] = 24.0
    efficiency: Annotated[float, Field(gt=0, le=1)] = 1.0
    warm_up_h: _NotNegative = 0.0
    seed: Annotated[int, Field(ge=0)] = 0
    runs: Annotated[int, Field(ge=1, le=10_000)] = 1
    checkpoint_every_s: Annotated[float, Field(ge=0.001, le=1e9)] | None = None
    checkpoint_s: _Seconds = 0.0
    resume_s: _Seconds = 0.0
    has_preemption: bool = True
    lease_s: _Seconds = 20.0
    estimates: Estimates = "exact"
    is_fleet_ready: bool = True
    chart_every_s: Annotated[float, Field(ge=1)] = 300.0

    def __post_init__(self) -> None:
        if self.warm_up_h >= self.hours:
            raise FieldError(
                f"expected less than the {self.hours:g} hours, got {self.warm_up_h:g}",
                param="warm_up_h",
            )
        if not self.nodes:
            raise FieldError("expected at least one [[simulation.nodes]]", param="nodes")
        names = [mix.platform for mix in self.jobs]
        if len(set(names)) < len(names):
            raise FieldError("expected one [[simulation.jobs]] a platform, got two", param="jobs")

    def checkpoint_interval_s(self, pool: NodePool) -> float:
        """Return the seconds of work between checkpoints on a pool; 0 where no node is ever lost."""
        if self.checkpoint_every_s is not None:
            return self.checkpoint_every_s
        if math.isinf(pool.mean_lifetime_s):
            return 0.0
        return max(1.0, math.sqrt(2 * self.checkpoint_s * pool.mean_lifetime_s))
