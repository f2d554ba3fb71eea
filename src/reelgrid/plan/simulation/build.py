"""Build an experiment from a scenario: its demand becomes streams of jobs, its nodes become pools.

Every uncertain quantity has its likely value: the simulation shows the effect of chance on a given
demand, `reelgrid plan demand` the uncertainty of the demand.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reelgrid.jobs.policy import Priority
from reelgrid.plan.demand.throughput import Throughput, ThroughputKey, price_usd_per_h, throughputs
from reelgrid.plan.facts.hardware import Gpu, find_gpu
from reelgrid.plan.facts.known import Facts
from reelgrid.plan.scenario.values import Platform, Scenario
from reelgrid.plan.simulation.config import JobMix, NodePool, SimulationConfig
from reelgrid.plan.simulation.experiment import Experiment, JobStream, NodeKind, ZonePool, in_us
from reelgrid.plan.uncertainty import Values, likely
from reelgrid.units import GIB, HOURS_PER_DAY

_BUSIEST_HOUR = 20


def read_simulation(scenario: Scenario) -> SimulationConfig:
    """Return the `[simulation]` part of a scenario.

    Raises:
        RequestError: The part is missing or wrong; the message has line and key.
    """
    if scenario.simulation is None:
        raise scenario.location.error("expected a table [simulation] to simulate")
    simulation = scenario.simulation.read(SimulationConfig)
    names = {platform.name for platform in scenario.platforms}
    for index, mix in enumerate(simulation.jobs):
        if mix.platform not in names:
            location = scenario.location / "simulation" / "jobs" / index / "platform"
            raise location.error(
                f"expected the name of a platform ({', '.join(sorted(names))}), "
                f"got {mix.platform!r}"
            )
    return simulation


def experiment_of(scenario: Scenario, simulation: SimulationConfig, facts: Facts) -> Experiment:
    """Return the experiment of a scenario.

    Args:
        scenario: Platforms, clips and hardware.
        simulation: Its `[simulation]` part.
        facts: Facts about GPUs and models.

    Raises:
        RequestError: A name is unknown, a GPU cannot make a clip, or no node fits a job.
    """
    return _ExperimentBuilder(scenario, simulation, facts).experiment()


@dataclass(frozen=True, slots=True)
class _JobClass:
    """Jobs of one platform, kind of clip, priority and need of trust."""

    platform: int
    clip: int
    priority: Priority
    is_private: bool
    share: float


class _ExperimentBuilder:
    def __init__(self, scenario: Scenario, simulation: SimulationConfig, facts: Facts) -> None:
        self.scenario, self.simulation, self.facts = scenario, simulation, facts
        self.throughputs: Mapping[ThroughputKey, Throughput] = throughputs(scenario, facts)
        self.values: Values = likely(
            each for throughput in self.throughputs.values() for each in throughput.inputs
        )
        self.hardware = [self._hardware_of(pool, n) for n, pool in enumerate(simulation.nodes)]
        self.mixes = {mix.platform: mix for mix in simulation.jobs}

    def experiment(self) -> Experiment:
        simulation = self.simulation
        classes = [job_class for job_class in self._job_classes() if job_class.share > 0]
        kinds = list(dict.fromkeys(map(self._kind_key, range(len(simulation.nodes)))))
        return Experiment(
            kinds=tuple(self._kind(key, classes) for key in kinds),
            pools=tuple(
                self._pool(number, zone, kinds.index(self._kind_key(number)))
                for number, nodes in enumerate(simulation.nodes)
                for zone in range(nodes.num_zones)
            ),
            streams=tuple(self._stream(job_class) for job_class in classes),
            horizon_us=in_us(simulation.hours * 3600),
            warm_up_us=in_us(simulation.warm_up_h * 3600),
            seed=simulation.seed,
            checkpoint_us=in_us(simulation.checkpoint_s),
            resume_us=in_us(simulation.resume_s),
            lease_us=in_us(simulation.lease_s),
            has_preemption=simulation.has_preemption,
            estimates=simulation.estimates,
            is_fleet_ready=simulation.is_fleet_ready,
            chart_every_us=in_us(simulation.chart_every_s),
        )

    # the fleet

    def _hardware_of(self, pool: NodePool, number: int) -> int:
        """Return the index of a pool's GPU in the scenario's hardware."""
        location = self.scenario.location / "simulation" / "nodes" / number / "gpu"
        gpu = find_gpu(pool.gpu, self.facts.hardware)
        for index in range(len(self.scenario.hardware)):
            if self._gpu(index) == gpu:
                return index
        names = ", ".join(part.gpu for part in self.scenario.hardware)
        raise location.error(f"expected a GPU of [[hardware]] ({names}), got {pool.gpu!r}")

    def _gpu(self, index: int) -> Gpu:
        return self.throughputs[0, 0, index].gpu

    def _kind_key(self, number: int) -> tuple[int, float, float, bool]:
        pool, hardware = self.simulation.nodes[number], self.hardware[number]
        memory_gib = pool.memory_gib or self._gpu(hardware).memory_gb * 1e9 / GIB
        return (hardware, pool.load_s, memory_gib, pool.is_trusted)

    def _kind(self, key: tuple[int, float, float, bool], classes: list[_JobClass]) -> NodeKind:
        hardware, load_s, memory_gib, is_trusted = key
        return NodeKind(
            name=self._gpu(hardware).name,
            load_us=in_us(load_s),
            memory_gib=memory_gib,
            is_trusted=is_trusted,
            time_factor=tuple(
                self._seconds(job_class, hardware) / self._seconds(job_class, 0)
                for job_class in classes
            ),
        )

    def _pool(self, number: int, zone: int, kind: int) -> ZonePool:
        pool, part = self.simulation.nodes[number], self.scenario.hardware[self.hardware[number]]
        price = price_usd_per_h(part, self._gpu(self.hardware[number]))
        likely = 0.0 if price is None else price.likely
        return ZonePool(
            name=f"{pool.gpu} in {pool.zone} {zone + 1}".removesuffix(" 1"),
            kind=kind,
            count=(pool.count + zone) // pool.num_zones,
            num_gpus=part.gpus_per_clip,
            usd_per_h=likely if pool.usd_per_h is None else pool.usd_per_h,
            is_start_up_billed=pool.is_start_up_billed,
            lifetime_shape=pool.lifetime_shape,
            lifetime_scale_us=float(in_us(pool.lifetime_scale_s)),
            correlation=pool.correlation,
            shared_loss_share=pool.shared_loss_share,
            notice_us=in_us(pool.notice_s),
            absence_mean_us=in_us(pool.absence_mean_s),
            startup_median_us=in_us(pool.startup_median_s),
            startup_sigma=pool.startup_sigma,
            checkpoint_every_us=in_us(self.simulation.checkpoint_interval_s(pool)),
        )

    # the jobs

    def _job_classes(self) -> Iterator[_JobClass]:
        for i, platform in enumerate(self.scenario.platforms):
            mix = self._mix(platform)
            total = math.fsum(clip.share.likely for clip in platform.clips)
            for j, clip in enumerate(platform.clips):
                for priority, share in zip(Priority, (mix.low, mix.normal, mix.high), strict=True):
                    share *= clip.share.likely / total
                    yield _JobClass(i, j, priority, False, share * (1 - mix.private_share))
                    yield _JobClass(i, j, priority, True, share * mix.private_share)

    def _mix(self, platform: Platform) -> JobMix:
        return self.mixes.get(platform.name, JobMix(platform=platform.name))

    def _seconds(self, job_class: _JobClass, hardware: int) -> float:
        throughput = self.throughputs[job_class.platform, job_class.clip, hardware]
        return float(throughput.seconds_per_clip(self.values)[0]) / self.simulation.efficiency

    def _stream(self, job_class: _JobClass) -> JobStream:
        platform = self.scenario.platforms[job_class.platform]
        clip, mix = platform.clips[job_class.clip], self._mix(platform)
        throughput = self.throughputs[job_class.platform, job_class.clip, 0]
        clip_s = float(self.values[throughput.clip_s][0])
        minutes = platform.minutes_per_day.likely * platform.share_made_by_ai.likely
        jobs_per_h = minutes * platform.clips_per_kept.likely * 60 / clip_s / HOURS_PER_DAY
        return JobStream(
            platform=platform.name,
            model=throughput.model,
            jobs_per_h=tuple(
                jobs_per_h * job_class.share * part for part in demand_by_hour(platform)
            ),
            mean_work_us=max(1, in_us(self._seconds(job_class, 0))),
            work="log-normal" if clip.work_cv > 0 else "constant",
            work_sigma=math.sqrt(math.log1p(clip.work_cv**2)),
            clip_s=clip_s,
            published_share=1 / platform.clips_per_kept.likely,
            memory_gib=mix.memory_gib,
            needs_trust=job_class.is_private,
            priority=job_class.priority,
            first_owner=self._first_owner(job_class.platform),
            num_owners=mix.num_owners,
            deadline_us=None if mix.deadline_s is None else in_us(mix.deadline_s),
        )

    def _first_owner(self, number: int) -> int:
        before = self.scenario.platforms[:number]
        return sum(self._mix(platform).num_owners or 0 for platform in before)


def demand_by_hour(platform: Platform) -> tuple[float, ...]:
    """Return the demand of each hour, relative to its mean.

    Where only the ratio of peak to mean is known, the day is a von Mises density around 20:00,
    exp(k cos(hour)), with k found by bisection so that the busiest hour has this ratio.
    """
    if platform.demand_by_hour is not None:
        return platform.demand_by_hour
    peak = 1.0 if platform.peak_to_mean is None else platform.peak_to_mean.likely
    return _von_mises_day(min(peak, HOURS_PER_DAY * 0.999)) if peak > 1 else (1.0,)


def _von_mises_day(peak: float) -> tuple[float, ...]:
    low, high = 0.0, 1e5
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if max(_weights(middle)) < peak else (low, middle)
    return _weights(low)


def _weights(k: float) -> tuple[float, ...]:
    angles = [2 * math.pi * (hour - _BUSIEST_HOUR) / HOURS_PER_DAY for hour in range(HOURS_PER_DAY)]
    weights = [math.exp(k * (math.cos(angle) - 1)) for angle in angles]
    mean = math.fsum(weights) / HOURS_PER_DAY
    return tuple(weight / mean for weight in weights)
