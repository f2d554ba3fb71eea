"""GPUs of one kind and the clips that come to them: how many are needed, for one draw or many.

Counted by queueing where there is a promise, else by averages; the sum of averages is one function,
`gpus_needed`. Not here: money, energy, training and doubt (`model`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from reelgrid.plan.demand.queueing import servers_for_promise
from reelgrid.plan.demand.throughput import Throughput, ThroughputKey
from reelgrid.plan.scenario import Clip, Platform, Promise, Scenario
from reelgrid.plan.uncertainty import Draws, Quantity, Values

N = TypeVar("N", float, Draws)

_ROUNDING = 1e-12
"""A sum that comes to 60 GPUs and its last bit takes 60, not 61."""

SECONDS_A_DAY = 86_400
HOURS_A_DAY = 24


def gpus_needed(
    minutes_per_day: N,
    *,
    candidates: N,
    peak_to_mean: N,
    minutes_per_gpu_hour: N,
    utilisation: N,
) -> N:
    """Return the GPUs that make so many minutes of video, counted by averages.

    The sum of the March 2024 report "Under the Hood: How OpenAI's Sora Model Works".

    Args:
        minutes_per_day: Minutes of video that are kept.
        candidates: Clips made for one that is kept.
        peak_to_mean: Demand that the GPUs have to meet, over the mean.
        minutes_per_gpu_hour: Minutes of video that one GPU at work makes in an hour.
        utilisation: Share of its time in which a GPU is at work.
    """
    made_per_day = minutes_per_day * candidates * peak_to_mean
    return made_per_day / (HOURS_A_DAY * minutes_per_gpu_hour * utilisation)


def whole(gpus: Draws) -> Draws:
    """Return whole GPUs that are enough."""
    return np.asarray(np.ceil(gpus * (1 - _ROUNDING)))


def demand_inputs(scenario: Scenario) -> dict[str, Quantity]:
    """Return what the demand of a scenario depends on, by name."""
    inputs: dict[str, Quantity] = {}
    for platform in scenario.platforms:
        name = platform.name
        inputs[f"{name}.minutes_per_day"] = platform.minutes_per_day
        inputs[f"{name}.share_made_by_ai"] = platform.share_made_by_ai
        inputs[f"{name}.clips_per_kept"] = platform.clips_per_kept
        if platform.peak_to_mean is not None:
            inputs[f"{name}.peak_to_mean"] = platform.peak_to_mean
        if len(platform.clips) > 1:
            for index, clip in enumerate(platform.clips):
                inputs[f"{name}.clips[{index}].share"] = clip.share
    for part in scenario.hardware:
        name = hardware_input(scenario, part.gpu, part.kernel)
        inputs[f"{name}.utilisation"] = part.utilisation
        inputs[f"{name}.availability"] = part.availability
        inputs[f"{name}.idle_w"] = part.idle_w
        if part.power_w is not None:
            inputs[f"{name}.power_w"] = part.power_w
        if len(scenario.hardware) > 1:
            inputs[f"{name}.share"] = part.share
    return inputs


def hardware_input(scenario: Scenario, gpu: str, kernel: str | None) -> str:
    """Return the name of a kind of GPU among the inputs: with its kernel where there are two."""
    is_alone = sum(part.gpu == gpu for part in scenario.hardware) == 1
    return f"hardware.{gpu}" if is_alone else f"hardware.{gpu} {kernel or ''}".strip()


def kept_minutes(platform: Platform, values: Values) -> Draws:
    """Return minutes of generated video that a platform publishes a day."""
    return values[f"{platform.name}.minutes_per_day"] * values[f"{platform.name}.share_made_by_ai"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """GPUs of one kind, in every draw; the last axis of every array is the draw.

    Attributes:
        made_by_platform: Minutes of video that each platform has them make a day.
        hours: Demand of each platform and hour over its mean; one hour where all are alike.
        busy_by_platform: GPUs at work for the mean of each platform.
        watts_by_platform: What those draw.
        clips_by_platform: The queue's part, three rows a platform: clips a second, and the first
            two moments of their seconds times that.
        utilisation: Share of a leased hour that goes into clips, when counting by averages.
        availability: Share of leased hours in which a GPU is up, when counting by queueing.
        gpus_per_clip: That work on one clip together.
        promises: That all clips have to keep; none: GPUs are counted by averages.
    """

    made_by_platform: Draws
    hours: Draws
    busy_by_platform: Draws
    watts_by_platform: Draws
    clips_by_platform: Draws
    utilisation: Draws
    availability: Draws
    gpus_per_clip: int
    promises: tuple[Promise, ...]

    def grown(self, growth: Draws) -> "Pool":
        """Return the pool with the demand of each platform times `growth`."""
        return replace(
            self,
            made_by_platform=self.made_by_platform * growth,
            busy_by_platform=self.busy_by_platform * growth,
            watts_by_platform=self.watts_by_platform * growth,
            clips_by_platform=self.clips_by_platform * growth,
        )

    @property
    def minutes_per_gpu_hour(self) -> Draws:
        """Minutes of video that an hour of one GPU at work makes, mean over the mix."""
        return np.asarray(np.sum(self.made_by_platform, axis=0) / (HOURS_A_DAY * self.busy_at_mean))

    def at_mean_by_averages(self) -> Draws:
        """Return GPUs at the mean: those at work over `utilisation`."""
        return np.asarray(self.busy_at_mean / self.utilisation)

    def at_peak_by_averages(self) -> Draws:
        """Return GPUs in the busiest hour: those at work over `utilisation`."""
        return np.asarray(self.busy_at_peak / self.utilisation)

    def at_mean(self) -> Draws:
        """Return GPUs for an hour of mean demand: so that the promise holds, or by averages."""
        if not self.promises:
            return self.at_mean_by_averages()
        return self._for_promises(*np.sum(self.clips_by_platform, axis=1))

    def at_peak(self) -> Draws:
        """Return GPUs for the busiest hour: so that the promise holds, or by averages."""
        if not self.promises:
            return self.at_peak_by_averages()
        by_hour = np.einsum("mpd,phd->mhd", self.clips_by_platform, self.hours)
        busiest = np.argmax(by_hour[1], axis=0)[None, None, :]
        return self._for_promises(*np.take_along_axis(by_hour, busiest, axis=1)[:, 0])

    def _for_promises(self, rate: Draws, work: Draws, squares: Draws) -> Draws:
        """Return GPUs to lease so that every promise holds: all clips wait in one queue."""
        mean_s = work / rate
        cv2 = np.maximum(0.0, squares / rate / mean_s**2 - 1)
        needed = [_servers(promise, rate, mean_s, cv2) for promise in self.promises]
        return np.asarray(np.ceil(np.max(needed, axis=0) * self.gpus_per_clip / self.availability))

    @property
    def busy_at_mean(self) -> Draws:
        """GPUs at work at the mean."""
        return np.asarray(np.sum(self.busy_by_platform, axis=0))

    @property
    def busy_at_peak(self) -> Draws:
        """GPUs at work in the busiest hour."""
        return _peak(self.busy_by_platform, self.hours)

    @property
    def watts_at_mean(self) -> Draws:
        """What the GPUs at work draw at the mean."""
        return np.asarray(np.sum(self.watts_by_platform, axis=0))

    @property
    def watts_at_peak(self) -> Draws:
        """What the GPUs at work draw in the busiest hour."""
        return _peak(self.watts_by_platform, self.hours)


def pool(
    scenario: Scenario, served: Mapping[ThroughputKey, Throughput], index: int, values: Values
) -> Pool:
    """Return what the demand takes of the GPUs at `index` of the scenario's hardware."""
    part = scenario.hardware[index]
    name = hardware_input(scenario, part.gpu, part.kernel)
    flows = [_flow(scenario, served, (i, index), values) for i in range(len(scenario.platforms))]
    promises = {scenario.promise_of(platform) for platform in scenario.platforms}
    return Pool(
        made_by_platform=np.stack([flow.made_per_day for flow in flows]),
        hours=_hours(scenario, values),
        busy_by_platform=np.stack([flow.busy for flow in flows]),
        watts_by_platform=np.stack([flow.watts for flow in flows]),
        clips_by_platform=np.stack(
            [[getattr(flow, key) for flow in flows] for key in ("rate_per_s", "work", "squares")]
        ),
        utilisation=values[f"{name}.utilisation"],
        availability=values[f"{name}.availability"],
        gpus_per_clip=part.gpus_per_clip,
        promises=tuple(promise for promise in promises if promise),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Flow:
    """The clips of one platform that come to the GPUs of one kind, at the mean.

    `rate_per_s` are the clips a second, `work` and `squares` the first two moments of the seconds
    of a clip times that.
    """

    made_per_day: Draws
    busy: Draws
    watts: Draws
    rate_per_s: Draws
    work: Draws
    squares: Draws


def _flow(
    scenario: Scenario,
    served: Mapping[ThroughputKey, Throughput],
    which: tuple[int, int],
    values: Values,
) -> _Flow:
    platform = scenario.platforms[which[0]]
    kept = kept_minutes(platform, values) * _hardware_share(scenario, which[1], values)
    candidates = values[f"{platform.name}.clips_per_kept"]
    sums = dict.fromkeys(("made", "busy", "watts", "rate", "work", "squares"), np.zeros_like(kept))
    one = np.ones_like(kept)
    part = scenario.hardware[which[1]]
    name = hardware_input(scenario, part.gpu, part.kernel)
    for index, clip in enumerate(platform.clips):
        service = served[which[0], index, which[1]]
        minutes = kept * _clip_share(platform, index, values)
        busy = gpus_needed(
            minutes,
            candidates=candidates,
            peak_to_mean=one,
            minutes_per_gpu_hour=service.minutes_per_gpu_hour(values),
            utilisation=one,
        )
        made = minutes * candidates
        watts = values.get(f"{name}.power_w", service.power_w)
        rate = made * 60 / service.clip_seconds(values) / SECONDS_A_DAY
        work = rate * service.seconds_per_clip(values)
        terms = (made, busy, busy * watts, rate, work, _squares(clip, rate, work))
        sums = {key: sums[key] + term for key, term in zip(sums, terms, strict=True)}
    return _Flow(
        made_per_day=sums["made"],
        busy=sums["busy"],
        watts=sums["watts"],
        rate_per_s=sums["rate"],
        work=sums["work"],
        squares=sums["squares"],
    )


def _squares(clip: Clip, rate: Draws, work: Draws) -> Draws:
    """Return clips a second times the second moment of their seconds."""
    return work * work / rate * (1 + clip.work_cv**2)


def _clip_share(platform: Platform, index: int, values: Values) -> Draws | float:
    """Return the share of a kind of clip; drawn shares are scaled so that they add up to 1."""
    if len(platform.clips) == 1:
        return 1.0
    names = [f"{platform.name}.clips[{j}].share" for j in range(len(platform.clips))]
    total = sum(values[name] for name in names)
    return values[names[index]] / total


def _hardware_share(scenario: Scenario, index: int, values: Values) -> Draws | float:
    if len(scenario.hardware) == 1:
        return 1.0
    names = [
        f"{hardware_input(scenario, part.gpu, part.kernel)}.share" for part in scenario.hardware
    ]
    total = sum(values[name] for name in names)
    return values[names[index]] / total


def _hours(scenario: Scenario, values: Values) -> Draws:
    """Return demand over its mean: platforms by hours by draws.

    Where only the peak of a platform is known, every hour may be its peak: peaks fall together.
    """
    draws = next(iter(values.values())).shape
    profiles = [platform.demand_by_hour for platform in scenario.platforms]
    num_hours = HOURS_A_DAY if any(profiles) else 1
    rows = []
    for platform, profile in zip(scenario.platforms, profiles, strict=True):
        if profile is not None:
            rows.append(np.tile(np.array(profile)[:, None], draws))
            continue
        peak = values.get(f"{platform.name}.peak_to_mean", np.ones(draws))
        rows.append(np.tile(peak, (num_hours, 1)))
    return np.stack(rows)


def _peak(by_platform: Draws, hours: Draws) -> Draws:
    return np.asarray(np.max(np.einsum("pd,phd->hd", by_platform, hours), axis=0))


def _servers(promise: Promise, rate: Draws, mean_s: Draws, cv2: Draws) -> Draws:
    servers = servers_for_promise(rate, mean_s, cv2, promise_s=promise.wait_s, share=promise.share)
    return np.asarray(servers)
