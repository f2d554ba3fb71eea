"""The `[simulation]` part of a scenario file: the fleet as it is leased, and how its jobs arrive.

Values only, with the units of the file in their names. Not here: reading the file
(`plan.scenario`), and turning it into what the engines run (`model`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from reelgrid.errors import RequestError

Work = Literal["constant", "exponential", "log-normal"]
Estimates = Literal["exact", "mean"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePool:
    """`[[simulation.nodes]]`: GPUs of one kind in one zone, which are lost together.

    A lost node is leased anew after an absence, so that the pool strives to keep `count`. The time
    that a node stays is exponential (`hazard_per_h`) or Weibull (`weibull_shape`,
    `weibull_scale_h`), from the moment that it is ready; with neither it stays for good.

    Attributes:
        gpu: A name that `reelgrid plan hardware` knows.
        count: Nodes of one GPU each.
        zone: Where they stand; a name.
        usd_per_h: Price of a leased node.
        is_start_up_billed: Whether start-up costs as much as the rest (Salad: no; Akash: yes).
        hazard_per_h: Losses per node-hour.
        weibull_shape: Below 1, old nodes are lost more rarely than fresh ones.
        weibull_scale_h: The scale of that distribution.
        correlation: Share of the hazard that strikes the whole pool within 3 minutes.
        struck_share: Share of the pool that such a strike takes.
        notice_s: How long before a loss it is announced.
        absence_mean_s: Mean of the exponential time until a lost node is leased anew.
        startup_median_s: From the lease to the first job: image pull and start of the process.
        startup_sigma: Standard deviation of its logarithm.
        load_s: To bring a model into the memory of the GPU.
        memory_gb: Device memory, if it is not the hardware table's.
        trusted: Whether private jobs may run there.
    """

    gpu: str
    count: int
    zone: str = "one"
    usd_per_h: float = 0.0
    is_start_up_billed: bool = True
    hazard_per_h: float = 0.0
    weibull_shape: float | None = None
    weibull_scale_h: float | None = None
    correlation: float = 0.0
    struck_share: float = 1.0
    notice_s: float = 0.0
    absence_mean_s: float = 0.0
    startup_median_s: float = 0.0
    startup_sigma: float = 0.0
    load_s: float = 0.0
    memory_gb: float | None = None
    trusted: bool = True

    def __post_init__(self) -> None:
        _at_least(self, 0, "usd_per_h", "hazard_per_h", "notice_s", "absence_mean_s")
        _at_least(self, 0, "startup_median_s", "startup_sigma", "load_s")
        _at_least(self, 1, "count")
        _above(self, 0, "weibull_shape", "weibull_scale_h", "memory_gb")
        _between(self, "correlation")
        _between(self, "struck_share", is_zero_allowed=False)
        if (self.weibull_shape is None) != (self.weibull_scale_h is None):
            raise RequestError(
                "a Weibull life needs both weibull_shape and weibull_scale_h", param="weibull_shape"
            )
        if self.weibull_shape is not None and self.hazard_per_h:
            raise RequestError(
                "give hazard_per_h or a Weibull life, not both", param="hazard_per_h"
            )

    @property
    def life_shape(self) -> float:
        """Shape of the Weibull distribution of a node's time; 1 is exponential."""
        return self.weibull_shape or 1.0

    @property
    def life_scale_s(self) -> float:
        """Scale of the Weibull distribution of a node's time; infinite for a node that stays."""
        if self.weibull_scale_h is not None:
            return self.weibull_scale_h * 3600
        return 3600 / self.hazard_per_h if self.hazard_per_h else math.inf

    @property
    def mean_life_s(self) -> float:
        """Mean time from ready to lost; infinite for a node that stays."""
        return self.life_scale_s * math.gamma(1 + 1 / self.life_shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobMix:
    """`[[simulation.jobs]]`: how the jobs of one platform differ; shares are of its arrivals.

    Attributes:
        platform: The name of a platform of the same file.
        low: Share of priority low.
        normal: Share of priority normal.
        high: Share of priority high.
        num_owners: Owners, who send equally often; with none each job has an owner of its own.
        private_share: Share that may run on trusted nodes only.
        deadline_s: Seconds after its arrival at which a job has to be finished.
        work: Distribution of the work of a job about the mean of its platform.
        work_sigma: Standard deviation of its logarithm, if log-normal.
        seconds_per_clip: Time for a clip by GPU, in place of the prediction.
    """

    platform: str
    low: float = 0.0
    normal: float = 1.0
    high: float = 0.0
    num_owners: int | None = None
    private_share: float = 0.0
    deadline_s: float | None = None
    work: Work = "constant"
    work_sigma: float = 0.0
    seconds_per_clip: dict[str, float] | None = None

    def __post_init__(self) -> None:
        _at_least(self, 0, "low", "normal", "high", "work_sigma")
        _above(self, 0, "deadline_s", "num_owners")
        _between(self, "private_share")
        _one_of(self, "work", ("constant", "exponential", "log-normal"))
        if not math.isclose(self.low + self.normal + self.high, 1.0, abs_tol=1e-9):
            raise RequestError(
                f"low, normal and high add up to {self.low + self.normal + self.high:g}, "
                "not to 1", param="normal",
            )  # fmt: skip
        for gpu, seconds in (self.seconds_per_clip or {}).items():
            if not 0 < seconds < math.inf:
                raise RequestError(
                    f"seconds_per_clip.{gpu} {seconds} is out of range: above 0",
                    param="seconds_per_clip",
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulation:
    """`[simulation]`: how long, how often, and how the service behaves.

    Attributes:
        nodes: The fleet.
        jobs: How the jobs of single platforms differ; of the others nothing is special.
        hours: Simulated time, from midnight.
        warm_up_h: Of this the beginning, whose jobs do not count in waits.
        seed: The same seed gives the same bytes.
        runs: Independent runs, for the intervals.
        save_every_s: Seconds of work between saves; by default Daly's rule for each pool,
            sqrt(2 x save_s x mean life), Young 1974 and Daly 2006, equation 20's first order.
        save_s: What a save takes from the work.
        resume_s: To take a saved state up again.
        preemption: Whether running jobs give way to waiting ones.
        lease_s: Time until the desk notices a node lost without notice (`reelgrid serve`: 20).
        estimates: What the desk believes a job takes: its own time, or the mean of its platform.
        is_fleet_ready: Whether all nodes are ready at the beginning, or begin to start up.
        chart_every_s: Distance of the points of the chart.
    """

    nodes: tuple[NodePool, ...]
    jobs: tuple[JobMix, ...] = ()
    hours: float = 24.0
    warm_up_h: float = 0.0
    seed: int = 0
    runs: int = 1
    save_every_s: float | None = None
    save_s: float = 0.0
    resume_s: float = 0.0
    preemption: bool = True
    lease_s: float = 20.0
    estimates: Estimates = "exact"
    is_fleet_ready: bool = True
    chart_every_s: float = 300.0

    def __post_init__(self) -> None:
        _at_least(self, 0, "warm_up_h", "seed", "save_s", "resume_s", "lease_s")
        _at_least(self, 1, "runs")
        _above(self, 0, "hours", "save_every_s", "chart_every_s")
        _one_of(self, "estimates", ("exact", "mean"))
        if self.warm_up_h >= self.hours:
            raise RequestError(
                f"warm_up_h {self.warm_up_h:g} leaves nothing of {self.hours:g} hours",
                param="warm_up_h",
            )
        if not self.nodes:
            raise RequestError("a simulation needs [[simulation.nodes]]", param="nodes")
        names = [mix.platform for mix in self.jobs]
        if len(set(names)) < len(names):
            raise RequestError("a platform has two [[simulation.jobs]]", param="jobs")


def _at_least(values: object, low: float, *keys: str) -> None:
    _check(values, keys, lambda value: low <= value < math.inf, f"at least {low:g}")


def _above(values: object, low: float, *keys: str) -> None:
    _check(values, keys, lambda value: value is None or low < value < math.inf, f"above {low:g}")


def _between(values: object, key: str, *, is_zero_allowed: bool = True) -> None:
    if is_zero_allowed:
        _check(values, (key,), lambda value: 0 <= value <= 1, "0 to 1")
    else:
        _check(values, (key,), lambda value: 0 < value <= 1, "above 0, to 1")


def _one_of(values: object, key: str, allowed: tuple[str, ...]) -> None:
    _check(values, (key,), lambda value: value in allowed, " or ".join(allowed))


def _check(
    values: object, keys: tuple[str, ...], is_right: Callable[[Any], bool], expected: str
) -> None:
    for key in keys:
        value = getattr(values, key)
        if not is_right(value):
            raise RequestError(f"{key} {value} is out of range: {expected}", param=key)
