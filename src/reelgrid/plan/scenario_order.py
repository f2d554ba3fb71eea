"""A scenario's demand, its likely values, as an order for GPUs: so that offers can be taken for it.

Promises, trust, caps and the loss of a zone are the order's own (`order`): what a scenario does not
say, the order's defaults do. Not here: intervals of the demand (`demand`).
"""

from collections.abc import Mapping
from pathlib import Path

from reelgrid.plan.architectures import find_architecture
from reelgrid.plan.order import Job, Order, read_order
from reelgrid.plan.scenario import Platform, Scenario, read_scenario
from reelgrid.plan.scenario.reading import found_at, read_toml
from reelgrid.plan.service import Facts, Key, Service, likely_speed, services

HOURS_A_DAY = 24


def read_demand(path: Path, facts: Facts) -> Order:
    """Return the order of a file: an order of its own, or a scenario, told by `[[platforms]]`.

    Raises:
        RequestError: It is neither, or a model of it has no known architecture.
    """
    if path.suffix.lower() != ".json" and "platforms" in read_toml(path)[0]:
        return order_of(read_scenario(path), facts)
    return read_order(path, facts)


def order_of(scenario: Scenario, facts: Facts) -> Order:
    """Return what a scenario wants at its peak, all inputs at their likely values.

    Raises:
        RequestError: A model has no known architecture: its need of memory has to be known.
    """
    served = services(scenario, facts)
    jobs = [
        _job(scenario, (i, j), facts, _rates_given(scenario, (i, j), served))
        for i, platform in enumerate(scenario.platforms)
        for j in range(len(platform.clips))
    ]
    return Order(title=scenario.name, workloads=tuple(jobs))


def _rates_given(
    scenario: Scenario, which: tuple[int, int], served: Mapping[Key, Service]
) -> dict[str, float]:
    """Return the rates that `[[speeds]]` gives for a kind of clip, by GPU."""
    each = [served[*which, k] for k in range(len(scenario.hardware))]
    return {one.gpu.name: likely_speed(one) for one in each if one.given is not None}


def _job(
    scenario: Scenario, which: tuple[int, int], facts: Facts, rates_given: dict[str, float]
) -> Job:
    i, j = which
    platform, clip = scenario.platforms[i], scenario.platforms[i].clips[j]
    place = scenario.place / "platforms" / i / "clips" / j / "model"
    model = found_at(place, find_architecture, clip.model, facts.architectures)
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
    return Job(
        name=f"{platform.name} {j + 1}: {clip.model}",
        model=clip.model,
        minutes_per_h=minutes_per_day * peak / HOURS_A_DAY,
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
