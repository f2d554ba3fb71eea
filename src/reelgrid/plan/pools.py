"""GPUs of one kind and the clips that come to them: how many are needed, for one draw or many.

The sum is one function, `gpus_needed`; everything that counts GPUs by averages goes through it.
Not here: money, energy, training and doubt (`demand`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from reelgrid.plan.montecarlo import Values
from reelgrid.plan.quantity import Draws, Quantity
from reelgrid.plan.queueing import servers_for_promise
from reelgrid.plan.scenario import Clip, Platform, Promise, Scenario
from reelgrid.plan.service import Key, Service

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
        by_platform: GPUs for the mean of each platform, at `utilisation`.
        hours: Demand of each platform and hour over its mean; one hour where all are alike.
        busy_by_platform: GPUs at work for the mean of each platform.
        watts_by_platform: What those draw.
        minutes_per_gpu_hour: Mean over the mix.
        gpus_for_promise: GPUs so that the promise holds in the busiest hour; none without promise.
    """

    by_platform: Draws
    hours: Draws
    busy_by_platform: Draws
    watts_by_platform: Draws
    minutes_per_gpu_hour: Draws
    gpus_for_promise: Draws | None

    def at_mean(self, growth: "Draws | float" = 1.0) -> Draws:
        """Return GPUs at the mean, demand of each platform times `growth`."""
        return np.asarray(np.sum(self.by_platform * growth, axis=0))

    def at_peak(self, growth: "Draws | float" = 1.0) -> Draws:
        """Return GPUs in the busiest hour, demand of each platform times `growth`."""
        return _peak(self.by_platform * growth, self.hours)

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

    @property
    def held(self) -> Draws:
        """GPUs that are leased all day, whole: for the promise, or else for the busiest hour."""
        if self.gpus_for_promise is not None:
            return self.gpus_for_promise
        return np.asarray(np.ceil(self.at_peak() * (1 - _ROUNDING)))


def pool(scenario: Scenario, served: Mapping[Key, Service], index: int, values: Values) -> Pool:
    """Return what the demand takes of the GPUs at `index` of the scenario's hardware."""
    part = scenario.hardware[index]
    name = hardware_input(scenario, part.gpu, part.kernel)
    utilisation = values[f"{name}.utilisation"]
    flows = [_flow(scenario, served, (i, index), values) for i in range(len(scenario.platforms))]
    busy = np.stack([flow.busy for flow in flows])
    hours = _hours(scenario, values)
    made = sum((flow.made_per_day for flow in flows), np.zeros_like(utilisation))
    return Pool(
        by_platform=busy / utilisation,
        hours=hours,
        busy_by_platform=busy,
        watts_by_platform=np.stack([flow.watts for flow in flows]),
        minutes_per_gpu_hour=made / (HOURS_A_DAY * np.sum(busy, axis=0)),
        gpus_for_promise=_for_promise(
            scenario, flows, hours, part.gpus_per_clip, values[f"{name}.availability"]
        ),
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
    scenario: Scenario, served: Mapping[Key, Service], which: tuple[int, int], values: Values
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


def _for_promise(
    scenario: Scenario,
    flows: list[_Flow],
    hours: Draws,
    gpus_per_clip: int,
    availability: Draws,
) -> Draws | None:
    """Return GPUs to lease so that every promise holds: all clips wait in one queue."""
    promises = {scenario.promise_of(platform) for platform in scenario.platforms} - {None}
    if not promises:
        return None
    rate, work, squares = (
        np.einsum("pd,phd->hd", np.stack([getattr(flow, name) for flow in flows]), hours)
        for name in ("rate_per_s", "work", "squares")
    )
    busiest = np.argmax(work, axis=0)[None, :]
    rate, work, squares = (
        np.take_along_axis(each, busiest, axis=0)[0] for each in (rate, work, squares)
    )
    mean_s = work / rate
    cv2 = np.maximum(0.0, squares / rate / mean_s**2 - 1)
    needed = [_servers(promise, rate, mean_s, cv2) for promise in promises if promise]
    return np.asarray(np.ceil(np.max(needed, axis=0) * gpus_per_clip / availability))


def _servers(promise: Promise, rate: Draws, mean_s: Draws, cv2: Draws) -> Draws:
    servers = servers_for_promise(rate, mean_s, cv2, promise_s=promise.wait_s, share=promise.share)
    return np.asarray(servers)
