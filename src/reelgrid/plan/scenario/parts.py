"""What a scenario file holds, as values: who wants which clips, on which GPUs, at what price.

The names of the fields are the keys of the file, units included; `docs/demand.md` explains each.
Not here: reading a file (`reading`, `file`), and what follows from a scenario (`plan.demand`).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

from reelgrid.errors import RequestError
from reelgrid.plan.quantity import Exact, Quantity
from reelgrid.plan.scenario.bounds import (
    Bounds,
    NotNegative,
    Positive,
    PositiveShare,
    check_bounds,
)
from reelgrid.plan.scenario.reading import Place, read_table
from reelgrid.spec import Size

T = TypeVar("T")

HOURS_A_DAY = 24
MAX_PARTS = 50
"""Entries of one array of tables; more are better grouped, in the file and in the answer."""

_SUM_TOLERANCE = 1e-6
_ONE = Exact(1.0)
_NOTHING = Exact(0.0)

AtLeastOne = Annotated[Quantity, Bounds(at_least=1)]
Growing = Annotated[Quantity, Bounds(above=-1, at_most=10)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """`[promise]`: this share of clips waits at most so long before work on it begins."""

    wait_s: Annotated[float, Bounds(at_least=0)]
    share: Annotated[float, Bounds(above=0, at_most=0.999999)] = 0.95

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """`[[platforms.clips]]`: one kind of clip in the mix of a platform.

    Attributes:
        model: Name of a model that `reelgrid plan models` knows, or that `[[speeds]]` describes.
        share: Of the platform's minutes that are made so.
        size: Width and height; the model's own where none is given.
        clip_s: Seconds of a clip; the model's own where none are given.
        fps: Frames a second; the model's own where none are given.
        steps: Denoising steps; the model's own where none are given.
        forwards_per_step: Passes through the network a step; 2 with guidance.
        work_cv: Standard deviation over mean of the work of single clips about their mean.
    """

    model: str
    share: PositiveShare = _ONE
    size: Size | None = None
    clip_s: Positive | None = None
    fps: Annotated[float, Bounds(above=0, at_most=240)] | None = None
    steps: Annotated[Quantity, Bounds(at_least=1, at_most=1000)] | None = None
    forwards_per_step: Annotated[int, Bounds(at_least=1, at_most=8)] | None = None
    work_cv: Annotated[float, Bounds(at_least=0, at_most=20)] = 0.0

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """`[[platforms]]`: somebody who publishes video, some of it generated.

    Attributes:
        name: Its own.
        minutes_per_day: Minutes of video published a day.
        clips: The mix of clips; shares add up to 1.
        share_made_by_ai: Of these minutes.
        clips_per_kept: Clips generated for one that is published.
        peak_to_mean: Demand of the busiest hour over the mean.
        profile_by_hour: In its place 24 weights, from midnight on.
        growth_per_month: 0.05 is five per cent; that of `[growth]` where none is given.
        promise: Its own; that of the scenario where none is given.
    """

    name: str
    minutes_per_day: Positive
    clips: tuple[Clip, ...]
    share_made_by_ai: PositiveShare = _ONE
    clips_per_kept: AtLeastOne = _ONE
    peak_to_mean: AtLeastOne | None = None
    profile_by_hour: Annotated[tuple[float, ...], Bounds(at_least=0)] | None = None
    growth_per_month: Growing | None = None
    promise: Promise | None = None

    def __post_init__(self) -> None:
        check_bounds(self)
        _check_name(self.name)
        _check_sum("clips", self.clips)
        if self.profile_by_hour is not None:
            self._check_profile(self.profile_by_hour)

    def _check_profile(self, profile: Sequence[float]) -> None:
        if self.peak_to_mean is not None:
            raise RequestError(
                "expected peak_to_mean or profile_by_hour, got both", param="profile_by_hour"
            )
        if len(profile) != HOURS_A_DAY:
            raise RequestError(
                f"expected {HOURS_A_DAY} numbers, one an hour, got {len(profile)}",
                param="profile_by_hour",
            )
        if not math.fsum(profile) > 0:
            raise RequestError("expected weights above 0, got only 0", param="profile_by_hour")

    @property
    def demand_by_hour(self) -> tuple[float, ...] | None:
        """Demand of each hour over the mean; none where only the peak is known."""
        if self.profile_by_hour is None:
            return None
        mean = math.fsum(self.profile_by_hour) / HOURS_A_DAY
        return tuple(weight / mean for weight in self.profile_by_hour)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """`[[hardware]]`: GPUs of one kind that take a share of the minutes.

    Attributes:
        gpu: A name that `reelgrid plan hardware` knows.
        utilisation: Share of a leased hour that goes into clips when counting by averages.
        share: Of all minutes that these GPUs make.
        usd_per_h: Price of a GPU; between the table's lowest and highest where none is given.
        availability: Share of leased hours in which a GPU is up; the rest is start-up and loss.
        gpus_per_clip: How many work on one clip together.
        kernel: Attention kernel; the usual one where none is given.
        power_w: Of a GPU at work; predicted where none is given.
        idle_w: Of a GPU without work.
    """

    gpu: str
    utilisation: PositiveShare
    share: PositiveShare = _ONE
    usd_per_h: Positive | None = None
    availability: PositiveShare = _ONE
    gpus_per_clip: Annotated[int, Bounds(at_least=1, at_most=1024)] = 1
    kernel: str | None = None
    power_w: Positive | None = None
    idle_w: NotNegative = _NOTHING

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """`[[speeds]]`: how fast a GPU makes clips of a model, where that is known and not predicted.

    Attributes:
        model: As in `[[platforms.clips]]`.
        gpu: As in `[[hardware]]`.
        seconds_per_clip: Time from prompt to frames, on all `gpus_per_clip` GPUs together.
        minutes_per_gpu_hour: In its place minutes of video an hour of one GPU.
        source: Where that is from.
    """

    model: str
    gpu: str
    seconds_per_clip: Positive | None = None
    minutes_per_gpu_hour: Positive | None = None
    source: str = ""

    def __post_init__(self) -> None:
        check_bounds(self)
        _check_one_of(self, ("seconds_per_clip", "minutes_per_gpu_hour"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """`[[training]]`: a model that is trained first.

    Attributes:
        name: Its own.
        gpu: A name that `reelgrid plan hardware` knows.
        flop: Compute of the run; or
        params, tokens: instead 6 FLOP a parameter and token (Kaplan et al. 2020,
            arXiv:2001.08361, section 2.1); or
        gpu_hours: instead hours of one GPU, measured or published.
        utilisation: FLOPs done over those that the GPU could do, dense bf16; with `gpu_hours` 1.
        days: Time that it may take; or
        num_gpus: instead GPUs that it may use.
        usd_per_h: Price of a GPU; the table's where none is given.
        source: Where that is from.
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
        check_bounds(self)
        _check_name(self.name)
        _check_one_of(self, ("flop", "params", "gpu_hours"))
        _check_one_of(self, ("days", "num_gpus"))
        if (self.params is None) != (self.tokens is None):
            raise RequestError("expected params and tokens together, got one", param="tokens")
        if (self.utilisation is None) != (self.gpu_hours is not None):
            wanted = "no utilisation with gpu_hours" if self.utilisation else "utilisation"
            raise RequestError(
                f"expected {wanted}: GPU-hours follow from FLOPs by it", param="utilisation"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """`[growth]`: how demand grows, month by month; 0.05 is five per cent."""

    per_month: Growing = _NOTHING
    months: Annotated[int, Bounds(at_least=0, at_most=120)] = 12

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """`[energy]`: what stands behind the GPUs.

    Attributes:
        pue: Power usage effectiveness: energy of the site over that of the GPUs.
        usd_per_kwh: To be paid beside the price of the GPU; none where that includes it.
        kg_co2_per_kwh: Emissions of the supply.
    """

    pue: AtLeastOne = _ONE
    usd_per_kwh: NotNegative | None = None
    kg_co2_per_kwh: NotNegative | None = None

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, slots=True)
class Part:
    """A table of the file that another room reads, with its own dataclass."""

    table: Mapping[str, object]
    place: Place

    def read(self, kind: type[T]) -> T:
        """Return the part as a `kind`.

        Raises:
            RequestError: It holds something else.
        """
        return read_table(kind, self.table, self.place)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A demand and what shall meet it.

    Attributes:
        name: A few words.
        platforms: Who wants what; at least one.
        hardware: On which GPUs; shares add up to 1.
        description: Sentences for the reader of the answer.
        sources: Where the figures are from.
        speeds: What is known better than predicted.
        training: Models to be trained first.
        promise: Of all platforms that have none of their own.
        growth: Of all platforms that have none of their own.
        energy: What stands behind the GPUs.
        simulation: The part that `reelgrid simulate` reads.
        place: Where it was read, for messages.
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
    energy: Energy = Energy()
    simulation: Part | None = None
    place: Place = field(
        default=Place("scenario", {}), compare=False, repr=False, metadata={"is_key": False}
    )

    def __post_init__(self) -> None:
        _check_name(self.name)
        _check_sum("hardware", self.hardware)
        for key in ("platforms", "training", "speeds"):
            num_parts, least = len(getattr(self, key)), int(key == "platforms")
            if not least <= num_parts <= MAX_PARTS:
                raise RequestError(
                    f"expected {least} to {MAX_PARTS} [[{key}]], got {num_parts}", param=key
                )
        _check_unlike("platforms", (platform.name for platform in self.platforms))
        _check_unlike("hardware", (f"{part.gpu} {part.kernel or ''}" for part in self.hardware))
        _check_unlike("training", (run.name for run in self.training))
        _check_unlike("speeds", (f"{speed.model} on {speed.gpu}" for speed in self.speeds))

    def promise_of(self, platform: Platform) -> Promise | None:
        """Return the promise that holds for a platform."""
        return platform.promise or self.promise

    def growth_of(self, platform: Platform) -> Quantity:
        """Return the growth a month that holds for a platform."""
        return platform.growth_per_month or self.growth.per_month


def _check_name(name: str) -> None:
    if not name.strip() or len(name) > 200:
        raise RequestError("expected a name of 1 to 200 characters", param="name")


def _check_sum(key: str, parts: Sequence[Clip] | Sequence[Hardware]) -> None:
    if not 1 <= len(parts) <= MAX_PARTS:
        raise RequestError(f"expected 1 to {MAX_PARTS} [[{key}]], got {len(parts)}", param=key)
    total = math.fsum(part.share.likely for part in parts)
    if abs(total - 1) > _SUM_TOLERANCE:
        raise RequestError(f"expected shares that add up to 1, got {total:g}", param=key)


def _check_unlike(key: str, names: Iterable[str]) -> None:
    seen = set[str]()
    for name in names:
        if name.strip().lower() in seen:
            raise RequestError(f"expected different names, got {name.strip()!r} twice", param=key)
        seen.add(name.strip().lower())


def _check_one_of(value: object, keys: tuple[str, ...]) -> None:
    given = [key for key in keys if getattr(value, key) is not None]
    if len(given) != 1:
        got = " and ".join(given) or "none"
        raise RequestError(
            f"expected one of {', '.join(keys)}, got {got}", param=given[-1] if given else None
        )
