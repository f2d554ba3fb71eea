"""What leased GPUs are for: workloads at peak, promises, trust and limits; a TOML or JSON file.

A scenario of `plan demand` is such a file too: its likely values at peak, with the defaults for
promises, trust and limits, which a scenario does not have.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from reelgrid.plan.demand.throughput import GivenSpeed, Throughput, ThroughputKey, throughputs
from reelgrid.plan.facts.architectures import find_architecture
from reelgrid.plan.facts.hardware import find_gpu
from reelgrid.plan.facts.known import Facts
from reelgrid.plan.scenario.values import Platform, Scenario, read_scenario
from reelgrid.spec import Size
from reelgrid.units import HOURS_PER_DAY
from reelgrid.user_files.checking import FieldError, find_at, parse
from reelgrid.user_files.reading import Location, read_json, read_toml

Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
Seconds = Annotated[float, Field(ge=0, le=1e7)]
Count = Annotated[int, Field(ge=0, le=10_000_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakWorkload:
    """`[[workloads]]`: clips of one kind, so many minutes an hour at peak.

    Attributes:
        name: Its own.
        model: Name of a model that `reelgrid plan models` knows.
        minutes_per_h: Minutes of video to be made in the busiest hour.
        mean_to_peak: Mean demand over that of the busiest hour.
        size: Width and height; `None` is the model's own.
        num_frames: Frames of a clip; `None` is the model's own.
        fps: Frames a second; `None` is the model's own.
        num_steps: Denoising steps; `None` is the model's own.
        forwards_per_step: Passes through the network a step; 2 with guidance.
        within_s: A clip is made within this time once begun; `None` is no promise.
        trusted_share: Of the minutes, made on trusted GPUs.
        gpus_per_clip: How many GPUs of one lease may work on one clip.
        minutes_per_gpu_hour: What the user has measured, by kind of GPU, in place of predictions.
    """

    name: str
    model: str
    minutes_per_h: Annotated[float, Field(gt=0, le=1e9)]
    mean_to_peak: PositiveShare = 1.0
    size: Size | None = None
    num_frames: Annotated[int, Field(ge=2, le=100_000)] | None = None
    fps: Annotated[float, Field(gt=0, le=240)] | None = None
    num_steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    forwards_per_step: Annotated[int, Field(ge=1, le=10)] | None = None
    within_s: Annotated[float, Field(gt=0, le=1e7)] | None = None
    trusted_share: Share = 0.0
    gpus_per_clip: tuple[Annotated[int, Field(ge=1, le=1024)], ...] = (1,)
    minutes_per_gpu_hour: dict[str, Annotated[float, Field(gt=0)]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.gpus_per_clip:
            raise FieldError("expected at least one number", param="gpus_per_clip")


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseTerms:
    """`[lease]`: how the GPUs are held and used.

    Attributes:
        hours: Length of the lease; the cost of its start is spread over it.
        load_s: To load the model on a machine that is ready.
        checkpoint_every_s: Work since the last checkpoint is lost with a GPU that goes without notice.
        checkpoint_s: A notice at least this long suffices for a checkpoint.
        utilisation: Busy share of the GPUs at peak: the rest keeps queues short.
    """

    hours: Annotated[float, Field(gt=0, le=1e6)] = 168.0
    load_s: Seconds = 60.0
    checkpoint_every_s: Annotated[float, Field(gt=0, le=1e7)] = 60.0
    checkpoint_s: Seconds = 10.0
    utilisation: PositiveShare = 0.85


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseLimits:
    """`[limits]`: how the risk is spread.

    Attributes:
        gpus_per_provider: At most so many of any one provider.
        gpus_per_zone: At most so many in any one zone of a provider.
        providers: Caps of single providers, by name.
        zones: Caps of single zones, by `provider/zone`.
        survive_share: Of the peak, still made when all GPUs of one kind in one zone are lost.
        spare_share: More than the peak, kept ready.
    """

    gpus_per_provider: Count | None = None
    gpus_per_zone: Count | None = None
    providers: dict[str, Count] = field(default_factory=dict)
    zones: dict[str, Count] = field(default_factory=dict)
    survive_share: Share = 0.0
    spare_share: Annotated[float, Field(ge=0, le=10)] = 0.0

    def cap(self, topic: str, name: str) -> int | None:
        """Return how many GPUs may be of a `provider`, or in a `zone` named `provider/zone`; `None` is no limit."""
        if topic == "provider":
            return self.providers.get(name, self.gpus_per_provider)
        return self.zones.get(name, self.gpus_per_zone)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseDemand:
    """The file: workloads, terms and limits.

    Attributes:
        title: What it is, for headings.
        confidence: Predicted times are those that hold with this probability; 0.5 is the median.
    """

    title: str
    workloads: tuple[PeakWorkload, ...]
    lease: LeaseTerms = field(default_factory=LeaseTerms)
    limits: LeaseLimits = field(default_factory=LeaseLimits)
    confidence: Annotated[float, Field(ge=0.01, le=0.99)] = 0.5

    def __post_init__(self) -> None:
        names = [workload.name for workload in self.workloads]
        if not names:
            raise FieldError("expected at least one", param="workloads")
        if len(set(names)) < len(names):
            raise FieldError("expected a name of its own for each", param="workloads")


def read_lease_demand(path: Path, facts: Facts | None = None) -> LeaseDemand:
    """Return what a `.toml` or `.json` file asks for.

    Args:
        path: The file.
        facts: What is known; where given, other models and GPUs are refused at their line.

    Raises:
        RequestError: It cannot be read; the message has the file, the line, the key and what was
            expected.
    """
    tables, root = read_json(path) if path.suffix.lower() == ".json" else read_toml(path)
    demand = parse(LeaseDemand, tables, root)
    if facts is not None:
        _check_names(demand, root / "workloads", facts)
    return demand


def _check_names(demand: LeaseDemand, location: Location, facts: Facts) -> None:
    """Refuse a model or GPU that is not known."""
    for index, workload in enumerate(demand.workloads):
        find_at(location / index / "model", find_architecture, workload.model, facts.architectures)
        for gpu in workload.minutes_per_gpu_hour:
            rate = location / index / "minutes_per_gpu_hour" / gpu
            find_at(rate, find_gpu, gpu, facts.hardware)


def read_demand(path: Path, facts: Facts) -> LeaseDemand:
    """Return the demand of a file: of its own kind, or a scenario, recognised by `[[platforms]]`.

    Raises:
        RequestError: It is neither, or a model of it has no known architecture.
    """
    if path.suffix.lower() != ".json" and "platforms" in read_toml(path)[0]:
        return lease_demand_of(read_scenario(path), facts)
    return read_lease_demand(path, facts)


def lease_demand_of(scenario: Scenario, facts: Facts) -> LeaseDemand:
    """Return the demand of a scenario at its peak, all inputs at their likely values.

    Raises:
        RequestError: A model has no known architecture: its need of memory has to be known.
    """
    made = throughputs(scenario, facts)
    workloads = [
        _workload(scenario, (i, j), facts, _rates_given(scenario, (i, j), made))
        for i, platform in enumerate(scenario.platforms)
        for j in range(len(platform.clips))
    ]
    return LeaseDemand(title=scenario.name, workloads=tuple(workloads))


def _rates_given(
    scenario: Scenario, which: tuple[int, int], made: Mapping[ThroughputKey, Throughput]
) -> dict[str, float]:
    """Return the rates that `[[speeds]]` gives for a kind of clip, by GPU."""
    each = [made[*which, k] for k in range(len(scenario.hardware))]
    return {one.gpu.name: one.likely_rate for one in each if isinstance(one.speed, GivenSpeed)}


def _workload(
    scenario: Scenario, which: tuple[int, int], facts: Facts, rates_given: dict[str, float]
) -> PeakWorkload:
    i, j = which
    platform, clip = scenario.platforms[i], scenario.platforms[i].clips[j]
    location = scenario.location / "platforms" / i / "clips" / j / "model"
    model = find_at(location, find_architecture, clip.model, facts.architectures)
    fps = clip.fps or model.fps
    shares = sum(each.share.likely for each in platform.clips)
    peak = peak_to_mean(platform)
    minutes_per_day = (
        platform.minutes_per_day.likely
        * platform.share_made_by_ai.likely
        * platform.clips_per_kept.likely
        * clip.share.likely
        / shares
    )
    return PeakWorkload(
        name=f"{platform.name} {j + 1}: {clip.model}",
        model=clip.model,
        minutes_per_h=minutes_per_day * peak / HOURS_PER_DAY,
        mean_to_peak=1 / peak,
        size=clip.size,
        num_frames=max(2, round(clip.clip_s.likely * fps)) if clip.clip_s else None,
        fps=fps,
        num_steps=max(1, round(clip.steps.likely)) if clip.steps else None,
        forwards_per_step=clip.forwards_per_step,
        minutes_per_gpu_hour=rates_given,
    )


def peak_to_mean(platform: Platform) -> float:
    """Return demand of the busiest hour over the mean."""
    if platform.demand_by_hour is not None:
        return max(platform.demand_by_hour)
    return platform.peak_to_mean.likely if platform.peak_to_mean is not None else 1.0
