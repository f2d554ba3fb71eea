"""GPUs of one kind and the clips that come to them: how many are needed, for one draw or many.

With a promise they are counted by queueing, else by averages; `gpus_needed` is that sum.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from reelgrid.plan.demand.inputs import DemandInputs, HardwareInputs, PlatformInputs
from reelgrid.plan.demand.queueing import servers_for_promise
from reelgrid.plan.demand.throughput import Throughput, ThroughputKey
from reelgrid.plan.scenario.values import Platform, Promise, Scenario
from reelgrid.plan.uncertainty import Draws, Input, Values
from reelgrid.units import HOURS_PER_DAY, SECONDS_PER_DAY

N = TypeVar("N", float, Draws)

_ROUNDING = 1e-12
"""A sum that comes to 60 GPUs and its last bit takes 60, not 61."""


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
    return made_per_day / (HOURS_PER_DAY * minutes_per_gpu_hour * utilisation)


def whole_gpus(gpus: Draws) -> Draws:
    """Return whole GPUs that are enough."""
    return np.asarray(np.ceil(gpus * (1 - _ROUNDING)))


def kept_minutes(platform: PlatformInputs, values: Values) -> Draws:
    """Return minutes of generated video that a platform publishes a day."""
    return values[platform.minutes_per_day] * values[platform.share_made_by_ai]


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuPool:
    """GPUs of one kind, in every draw; the last axis of every array is the draw.

    Attributes:
        made_by_platform: Minutes of video that each platform has them make a day.
        hours: Demand of each platform and hour over its mean; one hour where all are alike.
        busy_by_platform: GPUs at work for the mean of each platform.
        watts_by_platform: What those draw.
        clips_by_platform: For queueing, three rows a platform: clips a second, and that rate
            times the first and the second moment of the seconds of a clip.
        utilisation: Share of a leased hour that goes into clips, when counting by averages.
        availability: Share of leased hours in which a GPU is up, when counting by queueing.
        gpus_per_clip: That work on one clip together.
        promises: That all clips have to keep; empty where GPUs are counted by averages.
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

    def grown(self, growth: Draws) -> "GpuPool":
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
        made_per_day = np.sum(self.made_by_platform, axis=0)
        return np.asarray(made_per_day / (HOURS_PER_DAY * self.busy_at_mean))

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


def gpu_pool(
    scenario: Scenario,
    inputs: DemandInputs,
    throughputs: Mapping[ThroughputKey, Throughput],
    index: int,
    values: Values,
) -> GpuPool:
    """Return what the demand takes of the GPUs at `index` of the scenario's hardware."""
    part = inputs.hardware[index]
    part_share = _share([each.share for each in inputs.hardware if each.share], index, values)
    flows = []
    for i, (platform, uncertain) in enumerate(
        zip(scenario.platforms, inputs.platforms, strict=True)
    ):
        each = [throughputs[i, j, index] for j in range(len(platform.clips))]
        kept = kept_minutes(uncertain, values) * part_share
        flows.append(_flow(platform, uncertain, part, each, kept, values))
    made, busy, watts, *clips = np.stack(flows, axis=1)
    promises = {scenario.promise_of(platform) for platform in scenario.platforms}
    return GpuPool(
        made_by_platform=made,
        hours=_hours(scenario.platforms, inputs.platforms, values),
        busy_by_platform=busy,
        watts_by_platform=watts,
        clips_by_platform=np.stack(clips),
        utilisation=values[part.utilisation],
        availability=values[part.availability],
        gpus_per_clip=scenario.hardware[index].gpus_per_clip,
        promises=tuple(promise for promise in promises if promise),
    )


def _flow(
    platform: Platform,
    inputs: PlatformInputs,
    hardware: HardwareInputs,
    throughputs: Sequence[Throughput],
    kept: Draws,
    values: Values,
) -> Draws:
    """Return what the clips of a platform are to GPUs of one kind, at the mean: six rows of draws.

    Minutes made a day, GPUs at work, watts; then clips a second, and that rate times the first and
    the second moment of the seconds of a clip.
    """
    candidates, one = values[inputs.clips_per_kept], np.ones_like(kept)
    rows = []
    for index, (clip, throughput) in enumerate(zip(platform.clips, throughputs, strict=True)):
        minutes = kept * _share(inputs.clip_shares, index, values)
        busy = gpus_needed(
            minutes,
            candidates=candidates,
            peak_to_mean=one,
            minutes_per_gpu_hour=throughput.minutes_per_gpu_hour(values),
            utilisation=one,
        )
        made = minutes * candidates
        watts = busy * (values[hardware.power_w] if hardware.power_w else throughput.power_w)
        rate = made * 60 / values[throughput.clip_s] / SECONDS_PER_DAY
        work = rate * throughput.seconds_per_clip(values)
        squares = work * work / rate * (1 + clip.work_cv**2)
        rows.append([made, busy, watts, rate, work, squares])
    return np.asarray(np.sum(rows, axis=0))


def _share(shares: Sequence[Input], index: int, values: Values) -> Draws | float:
    """Return the share of one of several, or 1 of one alone; drawn shares are scaled to add up to 1."""
    return values[shares[index]] / sum(values[each] for each in shares) if shares else 1.0


def _hours(
    platforms: Sequence[Platform], inputs: Sequence[PlatformInputs], values: Values
) -> Draws:
    """Return demand over its mean: platforms by hours by draws.

    Where only the peak of a platform is known, every hour may be its peak: peaks fall together.
    """
    draws = values[inputs[0].minutes_per_day].shape
    num_hours = HOURS_PER_DAY if any(each.demand_by_hour for each in platforms) else 1
    rows = []
    for platform, uncertain in zip(platforms, inputs, strict=True):
        if platform.demand_by_hour is not None:
            rows.append(np.tile(np.array(platform.demand_by_hour)[:, None], draws))
        else:
            known = uncertain.peak_to_mean
            peak = values[known] if known else np.ones(draws)
            rows.append(np.tile(peak, (num_hours, 1)))
    return np.stack(rows)


def _peak(by_platform: Draws, hours: Draws) -> Draws:
    return np.asarray(np.max(np.einsum("pd,phd->hd", by_platform, hours), axis=0))


def _servers(promise: Promise, rate: Draws, mean_s: Draws, cv2: Draws) -> Draws:
    servers = servers_for_promise(rate, mean_s, cv2, promise_s=promise.wait_s, share=promise.share)
    return np.asarray(servers)
