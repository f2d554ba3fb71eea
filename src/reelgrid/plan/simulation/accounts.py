"""The compiled engine's books: what `books` does for the plain one, on flat arrays."""

import numpy as np

from reelgrid.plan.simulation import work_time
from reelgrid.plan.simulation.records import (
    ABSENT,
    NOBODY,
    STARTING,
    Counters,
    Parameters,
    SimulationState,
)
from reelgrid.plan.simulation.result import PRIME_TIME, PRIME_WHO, Gauge, TimeUse

_PRIME_TIME, _PRIME_WHO = np.uint64(PRIME_TIME), np.uint64(PRIME_WHO)
_SHIFT = np.uint64(29)
_CHART, _CHART_EVERY, _HORIZON = int(Counters.CHART), int(Parameters.CHART), int(Parameters.HORIZON)
_NUM_SEEN = len(Gauge)
_IN_ABSENCE, _IN_STARTING, _IN_IDLE = int(TimeUse.ABSENT), int(TimeUse.STARTING), int(TimeUse.IDLE)
_IN_LOADING, _IN_SAVING, _IN_LOST = (
    int(TimeUse.LOADING),
    int(TimeUse.CHECKPOINTING),
    int(TimeUse.LOST),
)
_IN_USEFUL, _IN_REDONE = int(TimeUse.USEFUL), int(TimeUse.REDONE)


def note(w: SimulationState, time_us: int, event: int, node: int, number: int) -> None:
    """Count an event; `result.digest_after` in 64-bit arithmetic."""
    w.events[event] += 1
    digest = (w.digest[0] ^ np.uint64(int(time_us) * 16 + event)) * _PRIME_TIME
    who = np.uint64(((int(node) + 1) << 32) + int(number) + 1)
    w.digest[0] = (digest ^ (digest >> _SHIFT) ^ who) * _PRIME_WHO


def watch_until(w: SimulationState, time_us: int) -> None:
    """Draw the points of the chart up to a time before which nothing else happens."""
    while w.now[_CHART] * w.rules[_CHART_EVERY] < time_us and w.now[_CHART] < len(w.chart):
        for seen in range(_NUM_SEEN):
            w.chart[w.now[_CHART], seen] = w.watched[seen]
        w.now[_CHART] += 1


def end_phase(w: SimulationState, number: int, now_us: int) -> None:
    """Account for a phase without a job, and begin the next one."""
    node = w.nodes[number]
    spent = _IN_IDLE
    if node.phase == ABSENT:
        spent = _IN_ABSENCE
    elif node.phase == STARTING:
        spent = _IN_STARTING
    w.time_use_us[node.pool, spent] += now_us - node.since_us
    node.since_us = now_us


def elapsed_us(w: SimulationState, number: int, now_us: int) -> int:
    """Return the time since the work of a node's job began, until it was told to give way."""
    node = w.nodes[number]
    until_us = now_us if node.yield_us < 0 else node.yield_us
    return max(0, int(until_us - (node.begin_us + node.load_us + node.resume_us)))


def end_stay(w: SimulationState, number: int, now_us: int, computed_us: int, kept_us: int) -> None:
    """Account for a job's time on a node, and for its work."""
    node = w.nodes[number]
    job = w.jobs[node.job]
    gone_us = now_us - node.begin_us
    loading_us = min(gone_us, node.load_us)
    again_us = work_time.again_us(
        kept_us, node.total_us, node.work_us, job.reached_us - job.kept_us
    )
    w.time_use_us[node.pool, _IN_LOADING] += loading_us
    w.time_use_us[node.pool, _IN_SAVING] += gone_us - loading_us - computed_us
    w.time_use_us[node.pool, _IN_REDONE] += again_us
    w.time_use_us[node.pool, _IN_USEFUL] += kept_us - again_us
    w.time_use_us[node.pool, _IN_LOST] += computed_us - kept_us
    reached_us = job.kept_us + work_time.work_done(node.work_us, node.total_us, computed_us)
    job.reached_us = max(job.reached_us, reached_us)
    job.kept_us += work_time.work_done(node.work_us, node.total_us, kept_us)
    node.since_us = now_us


def close(w: SimulationState, checkpoint_us: int) -> None:
    """Account for what is going on at the horizon."""
    horizon_us = w.rules[_HORIZON]
    for number in range(len(w.nodes)):
        node = w.nodes[number]
        if node.job == NOBODY:
            end_phase(w, number, horizon_us)
        else:
            worked_us = work_time.computed_us(
                elapsed_us(w, number, horizon_us), node.every_us, checkpoint_us
            )
            end_stay(w, number, horizon_us, worked_us, worked_us)


COMPILED = (note, watch_until, end_phase, elapsed_us, end_stay, close)
