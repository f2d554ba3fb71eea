"""What a scenario file holds, as values: who wants which clips, and what is promised.

The names of the fields are the keys of the file, units included; `docs/demand.md` explains each.
Not here: what meets the demand (`supply`), reading a file (`reading`, `file`), and what follows
from a scenario (`plan.demand`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

from reelgrid.errors import RequestError
from reelgrid.plan.scenario.reading import Location, read_table
from reelgrid.plan.scenario.rules import (
    MAX_PARTS,
    AtLeastOne,
    Bounds,
    Positive,
    PositiveShare,
    check_bounds,
    check_name,
    check_sum,
    check_unlike,
)
from reelgrid.plan.scenario.supply import Energy, Hardware, Speed, Training
from reelgrid.plan.uncertainty import Exact, Quantity
from reelgrid.spec import Size
from reelgrid.units import HOURS_PER_DAY

T = TypeVar("T")

_ONE = Exact(1.0)
_NOTHING = Exact(0.0)

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
        check_name(self.name)
        check_sum("clips", self.clips)
        if self.profile_by_hour is not None:
            self._check_profile(self.profile_by_hour)

    def _check_profile(self, profile: Sequence[float]) -> None:
        if self.peak_to_mean is not None:
            raise RequestError(
                "expected peak_to_mean or profile_by_hour, got both", param="profile_by_hour"
            )
        if len(profile) != HOURS_PER_DAY:
            raise RequestError(
                f"expected {HOURS_PER_DAY} numbers, one an hour, got {len(profile)}",
                param="profile_by_hour",
            )
        if not math.fsum(profile) > 0:
            raise RequestError("expected weights above 0, got only 0", param="profile_by_hour")

    @property
    def demand_by_hour(self) -> tuple[float, ...] | None:
        """Demand of each hour over the mean; none where only the peak is known."""
        if self.profile_by_hour is None:
            return None
        mean = math.fsum(self.profile_by_hour) / HOURS_PER_DAY
        return tuple(weight / mean for weight in self.profile_by_hour)


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """`[growth]`: how demand grows, month by month; 0.05 is five per cent."""

    per_month: Growing = _NOTHING
    months: Annotated[int, Bounds(at_least=0, at_most=120)] = 12

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, slots=True)
class Part:
    """A table of the file that another room reads, with its own dataclass."""

    table: Mapping[str, object]
    location: Location

    def read(self, kind: type[T]) -> T:
        """Return the part as a `kind`.

        Raises:
            RequestError: It holds something else.
        """
        return read_table(kind, self.table, self.location)


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
        location: Where it was read, for messages.
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
    simulation: Part | None = None
    location: Location = field(
        default=Location("scenario", {}), compare=False, repr=False, metadata={"is_key": False}
    )

    def __post_init__(self) -> None:
        check_name(self.name)
        check_sum("hardware", self.hardware)
        for key in ("platforms", "training", "speeds"):
            num_parts, least = len(getattr(self, key)), int(key == "platforms")
            if not least <= num_parts <= MAX_PARTS:
                raise RequestError(
                    f"expected {least} to {MAX_PARTS} [[{key}]], got {num_parts}", param=key
                )
        check_unlike("platforms", (platform.name for platform in self.platforms))
        check_unlike("hardware", (f"{part.gpu} {part.kernel or ''}" for part in self.hardware))
        check_unlike("training", (run.name for run in self.training))
        check_unlike("speeds", (f"{speed.model} on {speed.gpu}" for speed in self.speeds))

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
