"""Values of a scenario file: who wants which clips, on which GPUs, how sure.

The names of the fields are the keys of the file, units included; `docs/demand.md` explains each.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field

from reelgrid.plan.scenario.rules import (
    MAX_PARTS,
    AtLeastOne,
    Growing,
    NotNegative,
    Positive,
    PositiveShare,
    StepCount,
    check_distinct,
    check_name,
    check_one_of,
    check_sum,
)
from reelgrid.plan.uncertainty import Exact, Quantity
from reelgrid.spec import Size
from reelgrid.units import HOURS_PER_DAY
from reelgrid.user_files.checking import FieldError, parse
from reelgrid.user_files.reading import Location, read_toml

T = TypeVar("T")

_ONE = Exact(1.0)
_NOTHING = Exact(0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """`[promise]`: the share of clips whose work begins within a waiting time."""

    wait_s: Annotated[float, Field(ge=0)]
    share: Annotated[float, Field(gt=0, le=0.999999)] = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipKind:
    """`[[platforms.clips]]`: one kind of clip in the mix of a platform.

    Attributes:
        model: Name of a model that `reelgrid plan models` knows, or that `[[speeds]]` describes.
        share: Share of the platform's minutes.
        size: Width and height; `None` means the model's default.
        clip_s: Seconds of a clip; `None` means the model's default.
        fps: Frames per second; `None` means the model's default.
        steps: Denoising steps; `None` means the model's default.
        forwards_per_step: Passes through the network per step; 2 with guidance.
        work_cv: Coefficient of variation of the work of single clips.
    """

    model: str
    share: PositiveShare = _ONE
    size: Size | None = None
    clip_s: Positive | None = None
    fps: Annotated[float, Field(gt=0, le=240)] | None = None
    steps: StepCount | None = None
    forwards_per_step: Annotated[int, Field(ge=1, le=8)] | None = None
    work_cv: Annotated[float, Field(ge=0, le=20)] = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """`[[platforms]]`: a publisher of video, some of it generated.

    Attributes:
        name: Different from those of the other platforms.
        minutes_per_day: Minutes of video published per day.
        clips: The mix of clips; shares add up to 1.
        share_made_by_ai: Share of the minutes that are generated.
        clips_per_kept: Clips generated for each one that is published.
        peak_to_mean: Demand of the busiest hour over the mean.
        profile_by_hour: Instead of `peak_to_mean`: 24 weights, from midnight on.
        growth_per_month: 0.05 is five per cent; `None` means that of `[growth]`.
        promise: `None` means that of the scenario.
    """

    name: str
    minutes_per_day: Positive
    clips: tuple[ClipKind, ...]
    share_made_by_ai: PositiveShare = _ONE
    clips_per_kept: AtLeastOne = _ONE
    peak_to_mean: AtLeastOne | None = None
    profile_by_hour: tuple[Annotated[float, Field(ge=0)], ...] | None = None
    growth_per_month: Growing | None = None
    promise: Promise | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        check_sum("clips", [clip.share for clip in self.clips])
        if self.profile_by_hour is not None:
            self._check_profile(self.profile_by_hour)

    def _check_profile(self, profile: Sequence[float]) -> None:
        if self.peak_to_mean is not None:
            raise FieldError(
                "expected peak_to_mean or profile_by_hour, got both", param="profile_by_hour"
            )
        if len(profile) != HOURS_PER_DAY:
            raise FieldError(
                f"expected {HOURS_PER_DAY} numbers, one an hour, got {len(profile)}",
                param="profile_by_hour",
            )
        if not math.fsum(profile) > 0:
            raise FieldError("expected weights above 0, got only 0", param="profile_by_hour")

    @property
    def demand_by_hour(self) -> tuple[float, ...] | None:
        """Demand of each hour over the mean; `None` where only the peak is known."""
        if self.profile_by_hour is None:
            return None
        mean = math.fsum(self.profile_by_hour) / HOURS_PER_DAY
        return tuple(weight / mean for weight in self.profile_by_hour)


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """`[growth]`: how demand grows, month by month; 0.05 is five per cent."""

    per_month: Growing = _NOTHING
    months: Annotated[int, Field(ge=0, le=120)] = 12


@dataclass(frozen=True, slots=True)
class UnreadTable:
    """A table of the file that another package reads, with its own dataclass."""

    table: Mapping[str, object]
    location: Location

    def read(self, kind: type[T]) -> T:
        """Return the table as a `kind`.

        Raises:
            RequestError: It describes something else.
        """
        return parse(kind, self.table, self.location)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """`[[hardware]]`: GPUs of one kind that take a share of the minutes.

    Attributes:
        gpu: A name that `reelgrid plan hardware` knows.
        utilisation: Share of a leased hour that goes into clips when counting by averages.
        share: Share of all minutes that these GPUs make.
        usd_per_h: Price of one GPU; `None` means between the table's lowest and highest.
        availability: Share of leased hours in which a GPU is up; the rest is start-up and loss.
        gpus_per_clip: GPUs that work on one clip together.
        kernel: Attention kernel; `None` means the usual ones.
        power_w: Power of a GPU at work; `None` means predicted.
        idle_w: Power of an idle GPU.
    """

    gpu: str
    utilisation: PositiveShare
    share: PositiveShare = _ONE
    usd_per_h: Positive | None = None
    availability: PositiveShare = _ONE
    gpus_per_clip: Annotated[int, Field(ge=1, le=1024)] = 1
    kernel: str | None = None
    power_w: Positive | None = None
    idle_w: NotNegative = _NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """`[[speeds]]`: how fast a GPU generates clips of a model, where that is known and not predicted.

    Attributes:
        model: As in `[[platforms.clips]]`.
        gpu: As in `[[hardware]]`.
        seconds_per_clip: Time from prompt to frames, on all `gpus_per_clip` GPUs together.
        minutes_per_gpu_hour: Instead: minutes of video per hour of one GPU.
        source: Source of the figure.
    """

    model: str
    gpu: str
    seconds_per_clip: Positive | None = None
    minutes_per_gpu_hour: Positive | None = None
    source: str = ""

    def __post_init__(self) -> None:
        check_one_of(self, ("seconds_per_clip", "minutes_per_gpu_hour"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """`[[training]]`: a training run.

    Attributes:
        name: Different from those of the other runs.
        gpu: A name that `reelgrid plan hardware` knows.
        flop: Compute of the run; or
        params, tokens: instead, at 6 FLOP per parameter and token (Kaplan et al. 2020,
            arXiv:2001.08361, section 2.1); or
        gpu_hours: instead, hours of one GPU, measured or published.
        utilisation: FLOPs done over the dense bf16 peak; not with `gpu_hours`.
        days: Time that it may take; or
        num_gpus: instead, GPUs that it may use.
        usd_per_h: Price of one GPU; `None` means the table's.
        source: Source of the figures.
    """

    name: str
    gpu: str
    flop: Positive | None = None
    params: Positive | None = None
    tokens: Positive | None = None
    gpu_hours: Positive | None = None
    utilisation: PositiveShare | None = None
    days: Positive | None = None
    num_gpus: Positive | None = None
    usd_per_h: Positive | None = None
    source: str = ""

    def __post_init__(self) -> None:
        check_name(self.name)
        check_one_of(self, ("flop", "params", "gpu_hours"))
        check_one_of(self, ("days", "num_gpus"))
        if (self.params is None) != (self.tokens is None):
            raise FieldError("expected params and tokens together, got one", param="tokens")
        if (self.utilisation is None) != (self.gpu_hours is not None):
            rule = "no utilisation with gpu_hours" if self.utilisation else "utilisation"
            raise FieldError(
                f"expected {rule}: GPU-hours follow from FLOPs by it", param="utilisation"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """`[energy]`: site and supply of energy.

    Attributes:
        pue: Power usage effectiveness: energy of the site over that of the GPUs.
        usd_per_kwh: Price in addition to that of the GPU; `None` where that includes it.
        kg_co2_per_kwh: Emissions of the supply.
    """

    pue: AtLeastOne = _ONE
    usd_per_kwh: NotNegative | None = None
    kg_co2_per_kwh: NotNegative | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A demand for generated video and the GPUs that meet it.

    Attributes:
        name: A few words.
        platforms: Publishers with their demand; at least one.
        hardware: Kinds of GPUs; shares add up to 1.
        description: Sentences for the reader of the answer.
        sources: Sources of the figures.
        speeds: Known speeds, which replace predictions.
        training: Training runs.
        promise: Default of the platforms.
        growth: Default of the platforms.
        energy: Site and supply of energy.
        simulation: The table that `reelgrid simulate` reads.
        location: Root of the file, for messages.
    """

    name: str
    platforms: tuple[Platform, ...]
    hardware: tuple[Hardware, ...]
    description: str = ""
    sources: tuple[str, ...] = ()
    speeds: tuple[Speed, ...] = ()
    training: tuple[Training, ...] = ()
    promise: Promise | None = None
    growth: Growth = Growth()
    energy: Energy = field(default_factory=Energy)
    simulation: UnreadTable | None = None
    location: Location = field(
        default=Location("scenario", {}), compare=False, repr=False, metadata={"is_key": False}
    )

    def __post_init__(self) -> None:
        check_name(self.name)
        check_sum("hardware", [part.share for part in self.hardware])
        for key in ("platforms", "training", "speeds"):
            num_parts, least = len(getattr(self, key)), int(key == "platforms")
            if not least <= num_parts <= MAX_PARTS:
                raise FieldError(
                    f"expected {least} to {MAX_PARTS} [[{key}]], got {num_parts}", param=key
                )
        check_distinct("platforms", (platform.name for platform in self.platforms))
        check_distinct("hardware", (f"{part.gpu} {part.kernel or ''}" for part in self.hardware))
        check_distinct("training", (run.name for run in self.training))
        check_distinct("speeds", (f"{speed.model} on {speed.gpu}" for speed in self.speeds))

    def promise_of(self, platform: Platform) -> Promise | None:
        """Return the promise that holds for a platform."""
        return platform.promise or self.promise

    @property
    def is_growing(self) -> bool:
        """Whether the demand of any platform may grow or shrink."""
        rates = [self.growth_of(platform) for platform in self.platforms]
        return any(rate.low != 0 or rate.high != 0 for rate in rates)

    def growth_of(self, platform: Platform) -> Quantity:
        """Return the growth a month that holds for a platform."""
        return platform.growth_per_month or self.growth.per_month


def read_scenario(path: Path) -> Scenario:
    """Return the scenario of a TOML file; its table `[simulation]` is kept unread, as an `UnreadTable`.

    Raises:
        RequestError: It describes something else; the message has the line, the key and what is
            expected.
    """
    tables, root = read_toml(path)
    if not tables:
        raise root.error("expected [[platforms]] and [[hardware]], got an empty file")
    simulation = tables.pop("simulation", None)
    part = None if simulation is None else UnreadTable(simulation, root / "simulation")
    return replace(parse(Scenario, tables, root), simulation=part, location=root)
