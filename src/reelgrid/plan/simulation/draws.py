"""Random draws of a run: arrivals, work, owners, lifetimes, start-ups, absences, shared losses.

Common random numbers: each quantity has its own generator, keyed by the seed and by its purpose
(such as the n-th lifetime of each node of a pool) and independent of the order of use. Variants of
an experiment meet the same jobs and losses, and both engines read the same numbers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from reelgrid.plan.simulation.experiment import FOREVER_US, US, Experiment, JobStream, ZonePool

Times = NDArray[np.int64]

SHARED_LOSS_SPREAD_US = 180 * US
"""Nodes of one kind and zone go within 3 minutes (arXiv "Spot-and-Scoot", 92 % of 2,635 events)."""

_BLOCK = 4096
_HOUR_US = 3600 * US


class _Purpose(IntEnum):
    GAPS = 0
    WORK = 1
    OWNERS = 2
    LIFETIMES = 3
    START_UPS = 4
    ABSENCES = 5
    SHARED_LOSSES = 6
    LOST_NODES = 7


def _generator(seed: int, use: _Purpose, *key: int) -> np.random.Generator:
    return np.random.Generator(
        np.random.Philox(np.random.SeedSequence(seed, spawn_key=(use, *key)))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """Jobs in order of arrival.

    Attributes:
        at_us: Arrival times, ascending.
        stream: Number of the stream.
        work_us: Work.
        owner: Number of the owner; -1 for an owner with this job only.
    """

    at_us: Times
    stream: NDArray[np.int16]
    work_us: Times
    owner: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.at_us)

    @classmethod
    def empty(cls) -> "Arrivals":
        """Return no jobs."""
        return _merged([])


class StreamDraws:
    """Draws the jobs of one stream in blocks; the jobs do not depend on the block lengths."""

    def __init__(self, experiment: Experiment, number: int) -> None:
        self._stream = experiment.streams[number]
        self._number = number
        self._gaps = _generator(experiment.seed, _Purpose.GAPS, number)
        self._work = _generator(experiment.seed, _Purpose.WORK, number)
        self._owners = _generator(experiment.seed, _Purpose.OWNERS, number)
        self._edges_us, self._expected = _expected_arrivals(self._stream, experiment.horizon_us)
        self._reached = 0.0  # expected arrivals up to the last one drawn
        self._ahead_us: Times = np.empty(0, np.int64)

    def until(self, end_us: int) -> Arrivals:
        """Return the jobs that arrive before `end_us` and were not returned earlier."""
        parts = [self._ahead_us]
        target = float(np.interp(end_us, self._edges_us, self._expected))
        while self._reached <= target and self._expected[-1] > 0:
            parts.append(self._next_block())
        at_us = np.concatenate(parts)
        count = int(np.searchsorted(at_us, end_us, side="left"))
        self._ahead_us = at_us[count:]
        return Arrivals(
            at_us=at_us[:count],
            stream=np.full(count, self._number, np.int16),
            work_us=_draw_work(self._stream, self._work, count),
            owner=self._draw_owners(count),
        )

    def _next_block(self) -> Times:
        """Return arrivals by time change: a unit Poisson process through the inverse of the mean."""
        gaps = self._gaps.standard_exponential(_BLOCK)
        gaps[0] += self._reached
        points = np.cumsum(gaps)
        self._reached = float(points[-1])
        inside = points[points < self._expected[-1]]
        at_us: Times = np.interp(inside, self._expected, self._edges_us).astype(np.int64)
        return at_us

    def _draw_owners(self, count: int) -> NDArray[np.int32]:
        if self._stream.num_owners is None:
            return np.full(count, -1, np.int32)
        drawn = self._owners.random(count) * self._stream.num_owners
        return (drawn.astype(np.int32) + self._stream.first_owner).astype(np.int32)


def _expected_arrivals(
    stream: JobStream, horizon_us: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return times and the expected number of arrivals up to each; linear in between."""
    num_hours = -(-horizon_us // _HOUR_US)
    edges_us = np.minimum(np.arange(num_hours + 1) * float(_HOUR_US), float(horizon_us))
    rates = np.resize(np.asarray(stream.jobs_per_h, dtype=np.float64), num_hours)
    steps = rates * np.diff(edges_us) / _HOUR_US
    return edges_us, np.concatenate([[0.0], np.cumsum(steps)])


def _draw_work(stream: JobStream, generator: np.random.Generator, count: int) -> Times:
    if stream.work == "constant":
        return np.full(count, stream.mean_work_us, np.int64)
    if stream.work == "exponential":
        factors = generator.standard_exponential(count)
    else:
        sigma = stream.work_sigma
        factors = np.exp(sigma * generator.standard_normal(count) - sigma * sigma / 2)
    work_us: Times = np.maximum(1, np.rint(stream.mean_work_us * factors)).astype(np.int64)
    return work_us


def windows(experiment: Experiment, num_jobs: int = 200_000) -> Iterator[tuple[int, Arrivals]]:
    """Yield windows of time up to the horizon: the end of each and the jobs that arrive in it.

    Args:
        experiment: The experiment.
        num_jobs: Approximate number of jobs per window at the busiest time.
    """
    streams = [StreamDraws(experiment, number) for number in range(len(experiment.streams))]
    busiest = sum(max(stream.jobs_per_h) for stream in experiment.streams)
    width_us = max(1, min(experiment.horizon_us, int(num_jobs / max(busiest, 1e-9) * _HOUR_US)))
    end_us = 0
    while end_us < experiment.horizon_us:
        end_us = min(end_us + width_us, experiment.horizon_us)
        yield end_us, _merged([stream.until(end_us) for stream in streams])


def _merged(parts: list[Arrivals]) -> Arrivals:
    at_us = np.concatenate([np.empty(0, np.int64), *(part.at_us for part in parts)])
    stream = np.concatenate([np.empty(0, np.int16), *(part.stream for part in parts)])
    work_us = np.concatenate([np.empty(0, np.int64), *(part.work_us for part in parts)])
    owner = np.concatenate([np.empty(0, np.int32), *(part.owner for part in parts)])
    order = np.argsort(at_us, kind="stable")
    return Arrivals(
        at_us=at_us[order], stream=stream[order], work_us=work_us[order], owner=owner[order]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseDraws:
    """The n-th lease of every node: time until it is ready, lost and leased again.

    Attributes:
        startup_us: From the lease to ready.
        lifetime_us: From ready to lost by its own hazard; `FOREVER_US` if never.
        absence_us: From lost to the next lease.
    """

    startup_us: Times
    lifetime_us: Times
    absence_us: Times


def lease_draws(experiment: Experiment, number: int) -> LeaseDraws:
    """Return the `number`-th lease of every node, counted from 0, in the order of the pools."""
    parts = [
        _pool_lease_draws(experiment, number, index, pool)
        for index, pool in enumerate(experiment.pools)
    ]
    return LeaseDraws(
        startup_us=np.concatenate([part.startup_us for part in parts]),
        lifetime_us=np.concatenate([part.lifetime_us for part in parts]),
        absence_us=np.concatenate([part.absence_us for part in parts]),
    )


def _pool_lease_draws(
    experiment: Experiment, number: int, index: int, pool: ZonePool
) -> LeaseDraws:
    seed = experiment.seed
    lifetimes = _generator(seed, _Purpose.LIFETIMES, index, number).standard_exponential(pool.count)
    spread = _generator(seed, _Purpose.START_UPS, index, number).standard_normal(pool.count)
    absences = _generator(seed, _Purpose.ABSENCES, index, number).standard_exponential(pool.count)
    startup_us = pool.startup_median_us * np.exp(pool.startup_sigma * spread)
    if number == 0 and experiment.is_fleet_ready:
        startup_us = np.zeros(pool.count)
    scale_us = _scale_us(pool, 1 - pool.correlation)
    lifetime_us = scale_us * lifetimes ** (1 / pool.lifetime_shape)
    return LeaseDraws(
        startup_us=_whole(startup_us),
        lifetime_us=_whole(lifetime_us if scale_us < FOREVER_US else np.full(pool.count, np.inf)),
        absence_us=_whole(pool.absence_mean_us * absences),
    )


def _scale_us(pool: ZonePool, share: float) -> float:
    """Return the Weibull scale of a lifetime with `share` of the pool's hazard.

    The hazard of a Weibull lifetime is proportional to scale^-shape. A share of it is again
    Weibull, and the minimum of lifetimes whose shares add up to 1 has the pool's distribution.
    """
    if share <= 0:
        return float(FOREVER_US)
    return float(min(pool.lifetime_scale_us * share ** (-1 / pool.lifetime_shape), FOREVER_US))


def _whole(times_us: NDArray[np.float64]) -> Times:
    return np.rint(np.minimum(times_us, float(FOREVER_US))).astype(np.int64)


def shared_losses(experiment: Experiment) -> tuple[Times, NDArray[np.int32]]:
    """Return times and nodes of the losses that nodes of a pool share, in order of time."""
    times, nodes, first = [np.empty(0, np.int64)], [np.empty(0, np.int64)], 0
    for index, pool in enumerate(experiment.pools):
        for number, start_us in enumerate(_shared_loss_times(experiment, index, pool)):
            generator = _generator(experiment.seed, _Purpose.LOST_NODES, index, number)
            lost = np.flatnonzero(generator.random(pool.count) < pool.shared_loss_share)
            spread_us = generator.random(pool.count)[lost] * SHARED_LOSS_SPREAD_US
            times.append(start_us + spread_us.astype(np.int64))
            nodes.append(lost + first)
        first += pool.count
    at_us, node = np.concatenate(times), np.concatenate(nodes)
    order = np.lexsort((node, at_us))
    return at_us[order], node[order].astype(np.int32)


def _shared_loss_times(experiment: Experiment, index: int, pool: ZonePool) -> list[int]:
    scale_us = _scale_us(pool, pool.correlation / pool.shared_loss_share)
    if scale_us >= FOREVER_US:
        return []
    generator = _generator(experiment.seed, _Purpose.SHARED_LOSSES, index)
    times: list[int] = []
    at_us = 0.0
    while True:
        at_us += scale_us * generator.standard_exponential() ** (1 / pool.lifetime_shape)
        if at_us >= experiment.horizon_us:
            return times
        times.append(int(at_us))
