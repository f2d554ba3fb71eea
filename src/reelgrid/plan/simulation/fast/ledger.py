"""Accounting of the fast engine: `reference.ledger` on flat arrays."""

import numpy as np

from reelgrid.plan.simulation import work_time
from reelgrid.plan.simulation.fast.arrays import (
    ABSENT,
    NIL,
    STARTING,
    Counters,
    Parameters,
    SimulationState,
)
from reelgrid.plan.simulation.result import PRIME_SUBJECT, PRIME_TIME, Gauge, TimeUse

_PRIME_TIME, _PRIME_SUBJECT = np.uint64(PRIME_TIME), np.uint64(PRIME_SUBJECT)
_SHIFT = np.uint64(29)
_CHART, _CHART_EVERY, _HORIZON = int(Counters.CHART), int(Parameters.CHART), int(Parameters.HORIZON)
_NUM_GAUGES = len(Gauge)
_IN_ABSENCE, _IN_STARTING, _IN_IDLE = int(TimeUse.ABSENT), int(TimeUse.STARTING), int(TimeUse.IDLE)
_IN_LOADING, _IN_CHECKPOINTING = int(TimeUse.LOADING), int(TimeUse.CHECKPOINTING)
_IN_LOST = int(TimeUse.LOST)
_IN_USEFUL, _IN_REDONE = int(TimeUse.USEFUL), int(TimeUse.REDONE)


def record(s: SimulationState, time_us: int, event: int, node: int, number: int) -> None:
    """Count an event; `result.digest_after` in 64-bit arithmetic."""
    s.events[event] += 1
    digest = (s.digest[0] ^ np.uint64(int(time_us) * 16 + event)) * _PRIME_TIME
    subject = np.uint64(((int(node) + 1) << 32) + int(number) + 1)
    s.digest[0] = (digest ^ (digest >> _SHIFT) ^ subject) * _PRIME_SUBJECT


def sample_chart_until(s: SimulationState, time_us: int) -> None:
    """Write the points of the chart up to `time_us`; no event comes before it."""
    while s.counters[_CHART] * s.parameters[_CHART_EVERY] < time_us and s.counters[_CHART] < len(
        s.chart
    ):
        for gauge in range(_NUM_GAUGES):
            s.chart[s.counters[_CHART], gauge] = s.gauges[gauge]
        s.counters[_CHART] += 1


def end_phase(s: SimulationState, number: int, now_us: int) -> None:
    """Account for a phase without a job and begin the next phase."""
    node = s.nodes[number]
    time_use = _IN_IDLE
    if node.phase == ABSENT:
        time_use = _IN_ABSENCE
    elif node.phase == STARTING:
        time_use = _IN_STARTING
    s.time_use_us[node.pool, time_use] += now_us - node.phase_start_us
    node.phase_start_us = now_us


def elapsed_us(s: SimulationState, number: int, now_us: int) -> int:
    """Return the time a node has computed on its job, up to now or to the preemption."""
    node = s.nodes[number]
    until_us = now_us if node.preempted_us < 0 else node.preempted_us
    return max(0, int(until_us - (node.start_us + node.load_us + node.resume_us)))


def end_execution(
    s: SimulationState, number: int, now_us: int, computed_us: int, kept_us: int
) -> None:
    """Account for the time of a job on a node and for its work."""
    node = s.nodes[number]
    job = s.jobs[node.job]
    elapsed_in_all_us = now_us - node.start_us
    loading_us = min(elapsed_in_all_us, node.load_us)
    redone_us = work_time.redone_us(
        kept_us, node.total_us, node.work_us, job.progress_mark_us - job.kept_us
    )
    s.time_use_us[node.pool, _IN_LOADING] += loading_us
    s.time_use_us[node.pool, _IN_CHECKPOINTING] += elapsed_in_all_us - loading_us - computed_us
    s.time_use_us[node.pool, _IN_REDONE] += redone_us
    s.time_use_us[node.pool, _IN_USEFUL] += kept_us - redone_us
    s.time_use_us[node.pool, _IN_LOST] += computed_us - kept_us
    progress_mark_us = job.kept_us + work_time.work_done(node.work_us, node.total_us, computed_us)
    job.progress_mark_us = max(job.progress_mark_us, progress_mark_us)
    job.kept_us += work_time.work_done(node.work_us, node.total_us, kept_us)
    node.phase_start_us = now_us


def close(s: SimulationState, checkpoint_us: int) -> None:
    """Account for what is in progress at the horizon."""
    horizon_us = s.parameters[_HORIZON]
    for number in range(len(s.nodes)):
        node = s.nodes[number]
        if node.job == NIL:
            end_phase(s, number, horizon_us)
        else:
            worked_us = work_time.computed_us(
                elapsed_us(s, number, horizon_us), node.checkpoint_every_us, checkpoint_us
            )
            end_execution(s, number, horizon_us, worked_us, worked_us)


COMPILED = (record, sample_chart_until, end_phase, elapsed_us, end_execution, close)
