"""The fast engine: compiles `nodes`, `jobs`, `heaps` and `ledger` with numba and runs a simulation.

numba caches the compiled code on disk but checks only the source file of the entry point, so the
cache key here includes a digest of every source. numba is imported when a run begins.
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
from reelgrid.plan.simulation import draws, result, work_time
from reelgrid.plan.simulation import experiment as experiment_module
from reelgrid.plan.simulation.experiment import Experiment
from reelgrid.plan.simulation.fast import arrays, heaps, jobs, ledger, nodes
from reelgrid.plan.simulation.fast.arrays import NIL, Counters, SimulationState
from reelgrid.plan.simulation.result import EventType, Gauge, RunResult

_SOURCES: tuple[ModuleType, ...] = (
    arrays, experiment_module, heaps, jobs, ledger, nodes, policy, result, work_time,
)  # fmt: skip

_STAMP = int(Counters.SOURCES)


def run(experiment: Experiment, *, on_time: Callable[[int], None] | None = None) -> RunResult:
    """Return the result of one run, equal to that of `reference.engine.run` to the last bit.

    Args:
        experiment: The fleet, its jobs and the seed.
        on_time: Called with the simulated time reached, in microseconds.

    Raises:
        RequestError: numba is not installed.
    """
    begin, advance, close = _compiled()
    s = arrays.new_state(experiment)
    begin(s)
    parts = []
    for end_us, arrivals in draws.windows(experiment):
        s = _with_room_for(s, arrivals)
        parts.append((arrivals.at_us, arrivals.stream))
        index, status = 0, -1
        while status != nodes.DONE:
            status, index = advance(
                s, end_us, index, arrivals.at_us, arrivals.stream, arrivals.work_us, arrivals.owner
            )
            if status == nodes.HEAP_IS_FULL:
                s = s._replace(event_heap=_longer(s.event_heap, 2 * len(s.event_heap)))
            elif status == nodes.LEASES_ARE_SHORT:
                s = _with_leases(s, experiment)
        s.counters[Counters.NUM_ARRIVED] += len(arrivals)
        if on_time is not None:
            on_time(end_us)
    close(s, experiment.checkpoint_us)
    return _result(experiment, s, parts)


@cache
def _compiled() -> tuple[Any, Any, Any]:
    """Return `begin`, `advance` and `close`, compiled."""
    try:
        from numba import njit
        from numba.extending import register_jitable
    except ImportError:
        raise RequestError(
            'the fast engine needs numba: pip install "reelgrid[plan]", or --engine reference',
            param="engine",
        ) from None
    for function in nodes.COMPILED:
        register_jitable(_nrt=False)(function)
    # No reference counts: nothing is allocated, and counting took 95 % of the time.
    compile_ = njit(cache=True, nogil=True, error_model="numpy", _nrt=False)
    return tuple(compile_(function) for function in _entry_points(_source_digest()))


def _source_digest() -> int:
    """Return a number that changes with any source file of the compiled code."""
    digest = hashlib.sha256()
    for module in _SOURCES:
        digest.update(Path(str(module.__file__)).read_bytes())
    return int.from_bytes(digest.digest()[:7])


def _entry_points(sources: int) -> tuple[Any, Any, Any]:
    """Return the entry points. numba's cache key includes what they close over: the digest."""

    def begin(s):  # type: ignore[no-untyped-def]
        s.counters[_STAMP] = sources
        nodes.begin(s)

    def advance(s, until_us, index, at_us, stream, work_us, owner):  # type: ignore[no-untyped-def]
        s.counters[_STAMP] = sources
        return nodes.advance(s, until_us, index, at_us, stream, work_us, owner)

    def close(s, checkpoint_us):  # type: ignore[no-untyped-def]
        s.counters[_STAMP] = sources
        ledger.close(s, checkpoint_us)

    return begin, advance, close


def _longer(array: Any, length: int) -> Any:
    longer = np.zeros(length, array.dtype)
    longer[: len(array)] = array
    return longer


def _with_room_for(s: SimulationState, arrivals: draws.Arrivals) -> SimulationState:
    """Return a state with arrays that are long enough for all these jobs."""
    num_arrived = int(s.counters[Counters.NUM_ARRIVED])
    num_jobs = num_arrived + len(arrivals)
    if num_jobs > len(s.wait_us):
        room = max(num_jobs, 2 * len(s.wait_us))
        s = s._replace(
            wait_us=_longer(s.wait_us, room), turnaround_us=_longer(s.turnaround_us, room)
        )
    s.wait_us[num_arrived:num_jobs] = s.turnaround_us[num_arrived:num_jobs] = -1
    short = num_jobs - int(s.events[EventType.FINISH]) - len(s.jobs)
    return _with_free_slots(s, max(short, len(s.jobs) // 2)) if short > 0 else s


def _with_free_slots(s: SimulationState, count: int) -> SimulationState:
    """Return a state with `count` more free slots for jobs."""
    first, last = len(s.jobs), len(s.jobs) + count - 1
    jobs = _longer(s.jobs, last + 1)
    jobs["number"][first:] = NIL
    jobs["sibling"][first:] = np.arange(first + 1, last + 2)
    jobs["sibling"][last] = s.counters[Counters.FREE_JOB]
    s.counters[Counters.FREE_JOB] = first
    return s._replace(jobs=jobs)


def _with_leases(s: SimulationState, experiment: Experiment) -> SimulationState:
    """Return a state with twice as many drawn leases per node."""
    drawn = len(s.lifetime_us)
    more = [draws.lease_draws(experiment, number) for number in range(drawn, 2 * drawn)]
    return s._replace(
        startup_us=np.vstack([s.startup_us, *(each.startup_us for each in more)]),
        lifetime_us=np.vstack([s.lifetime_us, *(each.lifetime_us for each in more)]),
        absence_us=np.vstack([s.absence_us, *(each.absence_us for each in more)]),
    )


def _result(experiment: Experiment, s: SimulationState, parts: list[tuple[Any, Any]]) -> RunResult:
    alive = s.jobs[s.jobs["number"] != NIL]
    work_us = s.kept_work_us.copy()
    np.add.at(work_us, alive["stream"], alive["kept_us"])
    num_jobs = int(s.counters[Counters.NUM_ARRIVED])
    on_nodes = int((s.nodes["job"] != NIL).sum())
    return RunResult(
        experiment=experiment,
        arrived_us=np.concatenate([at_us for at_us, _ in parts]),
        stream=np.concatenate([stream for _, stream in parts]),
        wait_us=s.wait_us[:num_jobs],
        turnaround_us=s.turnaround_us[:num_jobs],
        time_use_us=s.time_use_us,
        work_us=work_us,
        unfinished=(
            int(s.gauges[Gauge.WAITING]),
            on_nodes,
            int((alive["is_awaiting_requeue"] == 1).sum()),
        ),
        events=s.events,
        chart=s.chart,
        digest=int(s.digest[0]),
    )
