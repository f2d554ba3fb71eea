"""Statistics of runs: waits, GPU use, losses and cost, each with a 95 % confidence interval.

Student's intervals over independent runs, or over batch means of one run whose demand does not
change with the hour (Law, "Simulation Modeling and Analysis", 5th edition, sections 9.4 and 9.5).
One run of a day with a profile has no interval.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reelgrid.jobs.policy import Priority
from reelgrid.plan.simulation.experiment import US
from reelgrid.plan.simulation.result import EventType, RunResult, TimeUse

NUM_BATCHES = 20
QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}

_HOUR_US = 3600 * US


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalEstimate:
    """A figure and its 95 % confidence interval, if there are enough runs or batches."""

    value: float
    low: float | None = None
    high: float | None = None

    def contains(self, value: float) -> bool:
        """Return whether a value lies in the interval."""
        return self.low is not None and self.high is not None and self.low <= value <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatistics:
    """Statistics of the runs of one experiment; means over several runs.

    Attributes:
        num_runs: Number of runs.
        num_jobs: Jobs that arrived.
        num_finished: Jobs finished by the end.
        num_unstarted: Jobs that never started; they count with their wait so far.
        figures: Estimates by name; times in seconds, see `docs/simulate.md`.
        by_priority: Waits by priority, for those that occur.
        gpu_hours: GPU-hours by `TimeUse`.
        events: Number of events by type.
        chart: Point in time (row) by `Gauge` (column).
        chart_every_s: Seconds between its points.
        digests: Digest of each run, in hexadecimal.
    """

    num_runs: int
    num_jobs: float
    num_finished: float
    num_unstarted: float
    figures: Mapping[str, IntervalEstimate]
    by_priority: Mapping[str, Mapping[str, IntervalEstimate]]
    gpu_hours: Mapping[str, float]
    events: Mapping[str, float]
    chart: NDArray[np.float64] = field(repr=False)
    chart_every_s: float
    digests: tuple[str, ...]


def summarize(results: Sequence[RunResult], promise_s: float | None = None) -> RunStatistics:
    """Return the statistics of independent runs of one experiment.

    Args:
        results: The results of the runs.
        promise_s: A wait in seconds, for the figure `within_promise_share`.
    """
    experiment = results[0].experiment
    costs = [_costs(result) for result in results]
    return RunStatistics(
        num_runs=len(results),
        num_jobs=_mean([len(result.arrived_us) for result in results]),
        num_finished=_mean([int(result.events[EventType.FINISH]) for result in results]),
        num_unstarted=_mean([int((result.wait_us < 0).sum()) for result in results]),
        figures=_waits(results, None)
        | _promise(results, promise_s)
        | {key: over_runs([cost[key] for cost in costs]) for key in costs[0]},
        by_priority={
            priority.name.lower(): _waits(results, priority)
            for priority in sorted({stream.priority for stream in experiment.streams})
        },
        gpu_hours={
            spent.name.lower(): _mean([_gpu_hours(result)[spent] for result in results])
            for spent in TimeUse
        },
        events={
            event.name.lower(): _mean([int(result.events[event]) for result in results])
            for event in EventType
            if event is not EventType.SHARED_LOSS
        },
        chart=np.mean([result.chart for result in results], axis=0),
        chart_every_s=experiment.chart_every_us / US,
        digests=tuple(f"{result.digest:016x}" for result in results),
    )


def over_runs(values: Sequence[float]) -> IntervalEstimate:
    """Return the mean of independent values, with Student's 95 % interval for two or more."""
    mean, count = _mean(values), len(values)
    if count < 2 or not all(math.isfinite(value) for value in values):
        return IntervalEstimate(value=mean)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1))
    half = _student(count - 1) * deviation / math.sqrt(count)
    return IntervalEstimate(value=mean, low=mean - half, high=mean + half)


def _student(freedom: int) -> float:
    """Return the 97.5th percentile of Student's distribution."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _waits(results: Sequence[RunResult], priority: Priority | None) -> dict[str, IntervalEstimate]:
    """Return waits and turnaround times of the jobs of one priority or of all."""
    samples = [dict(_samples(result, priority)) for result in results]
    return {
        f"{name}_{key}_s": estimate
        for name in samples[0]
        for key, estimate in _estimates([each[name] for each in samples], results[0]).items()
    }


def _promise(results: Sequence[RunResult], promise_s: float | None) -> dict[str, IntervalEstimate]:
    if promise_s is None:
        return {}
    waits = [dict(_samples(result, None))["wait"] for result in results]
    shares = [float((wait_s <= promise_s).mean()) if len(wait_s) else math.nan for wait_s in waits]
    return {"within_promise_share": over_runs(shares)}


def _samples(
    result: RunResult, priority: Priority | None
) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield waits and turnaround times in seconds, in order of arrival."""
    experiment = result.experiment
    chosen = result.arrived_us >= experiment.warm_up_us
    if priority is not None:
        is_of = [stream.priority is priority for stream in experiment.streams]
        chosen &= np.array(is_of)[result.stream]
    so_far_us = experiment.horizon_us - result.arrived_us
    yield "wait", np.where(result.wait_us < 0, so_far_us, result.wait_us)[chosen] / US
    yield "turnaround", result.turnaround_us[chosen & (result.turnaround_us >= 0)] / US


def _estimates(samples: list[NDArray[np.float64]], first: RunResult) -> dict[str, IntervalEstimate]:
    """Return mean, quantiles and maximum of the samples of one run or several."""
    rows = [_statistics(sample) for sample in samples]
    is_stationary = all(len(set(each.jobs_per_h)) == 1 for each in first.experiment.streams)
    if len(rows) > 1 or not is_stationary:
        return {key: over_runs([row[key] for row in rows]) for key in rows[0]}
    if len(samples[0]) < 10 * NUM_BATCHES:
        return {key: IntervalEstimate(value=value) for key, value in rows[0].items()}
    batches = [_statistics(batch) for batch in np.array_split(samples[0], NUM_BATCHES)]
    return {
        key: _around(value, over_runs([batch[key] for batch in batches]))
        for key, value in rows[0].items()
    }


def _statistics(values: NDArray[np.float64]) -> dict[str, float]:
    if not len(values):
        return dict.fromkeys(("mean", *QUANTILES, "max"), math.nan)
    quantiles = np.quantile(values, [*QUANTILES.values(), 1.0])
    names = (*QUANTILES, "max")
    return {"mean": float(values.mean())} | dict(zip(names, quantiles.tolist(), strict=True))


def _around(value: float, batches: IntervalEstimate) -> IntervalEstimate:
    """Return the value of the whole run with the interval width of its batches."""
    if batches.low is None or batches.high is None:
        return IntervalEstimate(value=value)
    half = (batches.high - batches.low) / 2
    return IntervalEstimate(value=value, low=value - half, high=value + half)


def _gpu_hours(result: RunResult) -> NDArray[np.float64]:
    """Return GPU-hours by `TimeUse`."""
    num_gpus = np.array([pool.num_gpus for pool in result.experiment.pools], np.int64)
    hours: NDArray[np.float64] = (result.time_use_us * num_gpus[:, None]).sum(axis=0) / _HOUR_US
    return hours


def _costs(result: RunResult) -> dict[str, float]:
    """Return GPU use, video made and cost over the whole run, warm-up included."""
    hours = _gpu_hours(result)
    leased_h = float(hours.sum() - hours[TimeUse.ABSENT])
    working_h = float(hours[TimeUse.USEFUL] + hours[TimeUse.REDONE] + hours[TimeUse.LOST])
    made, published = _minutes(result)
    usd = _usd(result)
    return {
        "leased_gpu_h": leased_h,
        "useful_share": _ratio(float(hours[TimeUse.USEFUL]), leased_h),
        "kept_share": _ratio(float(hours[TimeUse.USEFUL] + hours[TimeUse.REDONE]), leased_h),
        "working_share": _ratio(working_h, leased_h),
        "idle_share": _ratio(float(hours[TimeUse.IDLE]), leased_h),
        "lost_gpu_s": float(hours[TimeUse.LOST]) * 3600,
        "redone_gpu_s": float(hours[TimeUse.REDONE]) * 3600,
        "minutes_made": made,
        "minutes_published": published,
        "minutes_per_leased_gpu_hour": _ratio(made, leased_h),
        "usd": usd,
        "usd_per_minute_made": _ratio(usd, made),
        "usd_per_minute_published": _ratio(usd, published),
    }


def _ratio(value: float, by: float) -> float:
    return value / by if by else math.nan


def _minutes(result: RunResult) -> tuple[float, float]:
    """Return minutes of video of finished jobs, and the published part of them."""
    finished = result.stream[result.turnaround_us >= 0]
    counts = np.bincount(finished, minlength=len(result.experiment.streams))
    streams = result.experiment.streams
    made = [count * each.clip_s / 60 for count, each in zip(counts.tolist(), streams, strict=True)]
    shares = [stream.published_share for stream in streams]
    return math.fsum(made), math.fsum(map(math.prod, zip(made, shares, strict=True)))


def _usd(result: RunResult) -> float:
    """Return the price of the leased hours, with start-up where it is billed."""
    total = []
    for pool, time_use_us in zip(result.experiment.pools, result.time_use_us, strict=True):
        leased_us = int(time_use_us.sum()) - int(time_use_us[TimeUse.ABSENT])
        if not pool.is_start_up_billed:
            leased_us -= int(time_use_us[TimeUse.STARTING])
        total.append(leased_us / _HOUR_US * pool.num_gpus * pool.usd_per_h)
    return math.fsum(total)
