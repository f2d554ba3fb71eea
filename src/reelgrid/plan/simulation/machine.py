"""Compiles the rules of `compiled`, once for a machine, and runs them window by window.

The compiled code is kept on disk and made anew when any of its sources changes, the policy's
among them: numba itself looks at one source only. numba is imported when a run begins.
"""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from reelgrid.errors import RequestError
from reelgrid.jobs import policy
from reelgrid.plan.simulation import (
    accounts,
    calendar,
    compiled,
    draws,
    placing,
    queues,
    records,
    tree,
    work_time,
)
from reelgrid.plan.simulation.experiment import Experiment
from reelgrid.plan.simulation.records import NOBODY, Counters, SimulationState
from reelgrid.plan.simulation.result import EventType, Gauge, RunResult

_SOURCES: tuple[ModuleType, ...] = (
    accounts, work_time, calendar, compiled, placing, policy, queues, records, tree,
)  # fmt: skip

_STAMP = int(Counters.SOURCES)

OnTime = Callable[[int], None]


def run(experiment: Experiment, *, on_time: OnTime | None = None) -> RunResult:
    """Return the outcome of one run: the same as `plain.run`, to the last bit.

    Args:
        experiment: The fleet, its jobs and the seed.
        on_time: Told of the simulated time reached, in microseconds, now and then.

    Raises:
        RequestError: numba is not installed.
    """
    begin, advance, close = _compiled()
    w = records.new_world(experiment)
    begin(w)
    parts = []
    for end_us, arrivals in draws.windows(experiment):
        w = _with_room_for(w, arrivals)
        parts.append((arrivals.at_us, arrivals.stream))
        index, why = 0, -1
        while why != compiled.DONE:
            why, index = advance(
                w, end_us, index, arrivals.at_us, arrivals.stream, arrivals.work_us, arrivals.owner
            )
            if why == compiled.FULL:
                w = w._replace(calendar=_longer(w.calendar, 2 * len(w.calendar)))
            elif why == compiled.SHORT:
                w = _with_leases(w, experiment)
        w.now[Counters.FIRST] += len(arrivals)
        if on_time is not None:
            on_time(end_us)
    close(w, experiment.checkpoint_us)
    return _outcome(experiment, w, parts)


@cache
def _compiled() -> tuple[Any, Any, Any]:
    """Return `begin`, `advance` and `close`, compiled."""
    try:
        from numba import njit
        from numba.extending import register_jitable
    except ImportError:
        raise RequestError(
            'the compiled engine needs numba: pip install "reelgrid[plan]", or --engine plain',
            param="engine",
        ) from None
    for function in compiled.COMPILED:
        register_jitable(_nrt=False)(function)
    # without reference counts: nothing is allocated, and counting took 19 of 20 parts of the time
    compile_ = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
    return tuple(compile_(function) for function in _stamped(_sources()))


def _sources() -> int:
    """Return a number that changes with any source of the compiled code."""
    whole = hashlib.sha256()
    for module in _SOURCES:
        whole.update(Path(str(module.__file__)).read_bytes())
    return int.from_bytes(whole.digest()[:7])


def _stamped(sources: int) -> tuple[Any, Any, Any]:
    """Return the entries; what they close over is part of the name they are kept under."""

    def begin(w):  # type: ignore[no-untyped-def]
        w.now[_STAMP] = sources
        compiled.begin(w)

    def advance(w, until_us, index, at_us, stream, work_us, owner):  # type: ignore[no-untyped-def]
        w.now[_STAMP] = sources
        return compiled.advance(w, until_us, index, at_us, stream, work_us, owner)

    def close(w, checkpoint_us):  # type: ignore[no-untyped-def]
        w.now[_STAMP] = sources
        accounts.close(w, checkpoint_us)

    return begin, advance, close


def _longer(array: Any, length: int) -> Any:
    longer = np.zeros(length, array.dtype)
    longer[: len(array)] = array
    return longer


def _with_room_for(w: SimulationState, arrivals: draws.Arrivals) -> SimulationState:
    """Return a world in which all these jobs find a place."""
    num_arrived = int(w.now[Counters.FIRST])
    num_jobs = num_arrived + len(arrivals)
    if num_jobs > len(w.wait_us):
        room = max(num_jobs, 2 * len(w.wait_us))
        w = w._replace(
            wait_us=_longer(w.wait_us, room),
            turnaround_us=_longer(w.turnaround_us, room),
        )
    w.wait_us[num_arrived:num_jobs] = w.turnaround_us[num_arrived:num_jobs] = -1
    short = num_jobs - int(w.events[EventType.FINISH]) - len(w.jobs)
    return _with_places(w, max(short, len(w.jobs) // 2)) if short > 0 else w


def _with_places(w: SimulationState, count: int) -> SimulationState:
    """Return a world with more places for jobs, which are all free."""
    first, last = len(w.jobs), len(w.jobs) + count - 1
    jobs = _longer(w.jobs, last + 1)
    jobs["number"][first:] = NOBODY
    jobs["sibling"][first:] = np.arange(first + 1, last + 2)
    jobs["sibling"][last] = w.now[Counters.FREE_JOB]
    w.now[Counters.FREE_JOB] = first
    return w._replace(jobs=jobs)


def _with_leases(w: SimulationState, experiment: Experiment) -> SimulationState:
    """Return a world in which twice as many leases of each node are drawn."""
    drawn = len(w.lifetime_us)
    more = [draws.stays(experiment, number) for number in range(drawn, 2 * drawn)]
    return w._replace(
        startup_us=np.vstack([w.startup_us, *(stays.startup_us for stays in more)]),
        lifetime_us=np.vstack([w.lifetime_us, *(stays.lifetime_us for stays in more)]),
        absence_us=np.vstack([w.absence_us, *(stays.absence_us for stays in more)]),
    )


def _outcome(experiment: Experiment, w: SimulationState, parts: list[tuple[Any, Any]]) -> RunResult:
    alive = w.jobs[w.jobs["number"] != NOBODY]
    work_us = w.kept_work_us.copy()
    np.add.at(work_us, alive["stream"], alive["kept_us"])
    num_jobs = int(w.now[Counters.FIRST])
    on_nodes = int((w.nodes["job"] != NOBODY).sum())
    return RunResult(
        experiment=experiment,
        arrived_us=np.concatenate([at_us for at_us, _ in parts]),
        stream=np.concatenate([stream for _, stream in parts]),
        wait_us=w.wait_us[:num_jobs],
        turnaround_us=w.turnaround_us[:num_jobs],
        time_use_us=w.time_use_us,
        work_us=work_us,
        in_hand=(int(w.watched[Gauge.WAITING]), on_nodes, int((alive["is_away"] == 1).sum())),
        events=w.events,
        chart=w.chart,
        digest=int(w.digest[0]),
    )
