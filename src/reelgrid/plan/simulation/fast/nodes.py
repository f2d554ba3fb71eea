"""The event loop of the fast engine and its events of nodes, on flat arrays, for a million nodes.

Plain functions that `engine` compiles with numba, together with the formulas of the job policy.
Each mirrors the method of the same name in `reference.engine`; tests compare the two engines event
for event.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reelgrid.jobs import policy
from reelgrid.plan.simulation import work_time
from reelgrid.plan.simulation.experiment import FOREVER_US
from reelgrid.plan.simulation.fast import heaps, jobs, ledger
from reelgrid.plan.simulation.fast.arrays import (
    ABSENT,
    NIL,
    STARTING,
    Counters,
    Parameters,
    SimulationState,
)
from reelgrid.plan.simulation.result import EventType, Gauge

DONE, HEAP_IS_FULL, LEASES_ARE_SHORT = 0, 1, 2
"""Why `advance` returns: the time is reached; the event heap is full; more leases must be drawn."""

_MAX_NEW_EVENTS = 8  # events that one event schedules at most

_FINISH, _CHECKPOINTED = int(EventType.FINISH), int(EventType.CHECKPOINTED)
_READY, _REQUEUE, _NOTICE = int(EventType.READY), int(EventType.REQUEUE), int(EventType.NOTICE)
_SHARED_LOSS = int(EventType.SHARED_LOSS)
_LOSS, _LEASE, _ARRIVE = int(EventType.LOSS), int(EventType.LEASE), int(EventType.ARRIVE)
_BUSY, _UP, _LEASED = int(Gauge.BUSY), int(Gauge.UP), int(Gauge.LEASED)
_NUM_EVENTS, _NEXT_SHARED_LOSS = int(Counters.NUM_EVENTS), int(Counters.SHARED_LOSS)
_MAX_LEASE, _NUM_ARRIVED = int(Counters.MAX_LEASE), int(Counters.NUM_ARRIVED)
_CHECKPOINT, _JOB_LEASE = int(Parameters.CHECKPOINT), int(Parameters.LEASE)
_HAS_CHECKPOINTS = int(Parameters.HAS_CHECKPOINTS)


def begin(s: SimulationState) -> None:
    """Lease all nodes at time 0."""
    s.gauges[_LEASED] = len(s.nodes)
    for number in range(len(s.nodes)):
        jobs.schedule(s, s.startup_us[0, number], _READY, number, 0)


def advance(
    s: SimulationState,
    until_us: int,
    index: int,
    at_us: NDArray[np.int64],
    stream: NDArray[np.int16],
    work_us: NDArray[np.int64],
    owner: NDArray[np.int32],
) -> tuple[int, int]:
    """Handle every event before `until_us`.

    Args:
        s: The state of the run.
        until_us: Simulated time at which to stop.
        index: The next arrival.
        at_us: Arrival times of the jobs.
        stream: Streams of the jobs.
        work_us: Work of the jobs.
        owner: Owners of the jobs, -1 for an owner with this job only.

    Returns:
        Why it stopped, and the next arrival.
    """
    while True:
        if s.counters[_NUM_EVENTS] + _MAX_NEW_EVENTS > len(s.event_heap):
            return HEAP_IS_FULL, index
        if s.counters[_MAX_LEASE] + 1 >= len(s.lifetime_us):
            return LEASES_ARE_SHORT, index
        time_us, key, epoch = _next_event(s, index, at_us)
        ledger.sample_chart_until(s, min(time_us, until_us))
        if time_us >= until_us:
            return DONE, index
        event, subject = heaps.event_of(key), heaps.subject_of(key)
        if event == _ARRIVE:
            number = s.counters[_NUM_ARRIVED] + index
            jobs.admit(s, time_us, number, stream[index], work_us[index], owner[index])
            index += 1
        elif event == _SHARED_LOSS:
            s.counters[_NEXT_SHARED_LOSS] += 1
            _shared_loss(s, time_us, s.shared_loss_node[subject])
        else:
            s.counters[_NUM_EVENTS] = heaps.pop_event(s.event_heap, s.counters[_NUM_EVENTS])
            _handle(s, time_us, event, subject, epoch)


def _next_event(s: SimulationState, index: int, at_us: NDArray[np.int64]) -> tuple[int, int, int]:
    """Return time, key and epoch of the next event: from the heap, shared losses and arrivals."""
    time_us, key, epoch = FOREVER_US, 0, 0
    if s.counters[_NUM_EVENTS] > 0:
        entry = s.event_heap[0]
        time_us, key, epoch = entry.time_us, entry.key, entry.epoch
    number = s.counters[_NEXT_SHARED_LOSS]
    if number < len(s.shared_loss_us):
        other = heaps.key_of(_SHARED_LOSS, number)
        if s.shared_loss_us[number] < time_us or (
            s.shared_loss_us[number] == time_us and other < key
        ):
            time_us, key = s.shared_loss_us[number], other
    if index < len(at_us):
        other = heaps.key_of(_ARRIVE, index)
        if at_us[index] < time_us or (at_us[index] == time_us and other < key):
            time_us, key = at_us[index], other
    return time_us, key, epoch


def _handle(s: SimulationState, now_us: int, event: int, subject: int, epoch: int) -> None:
    if event == _FINISH:
        _finish(s, now_us, subject, epoch)
    elif event == _CHECKPOINTED:
        _checkpointed(s, now_us, subject, epoch)
    elif event == _READY:
        _ready(s, now_us, subject)
    elif event == _REQUEUE:
        _requeue(s, now_us, epoch)
    elif event == _NOTICE:
        _notice(s, now_us, subject, epoch)
    elif event == _LOSS:
        _loss(s, now_us, subject, epoch)
    else:
        _lease(s, now_us, subject)


def _finish(s: SimulationState, now_us: int, number: int, epoch: int) -> None:
    node = s.nodes[number]
    if node.epoch != epoch:
        return
    slot = node.job
    job = s.jobs[slot]
    ledger.record(s, now_us, _FINISH, number, job.number)
    _end_execution(s, now_us, number, node.total_us, node.total_us)
    s.turnaround_us[job.number] = now_us - job.arrived_us
    s.kept_work_us[job.stream] += job.work_us
    jobs.leave(s, slot)
    jobs.free(s, now_us, number)


def _checkpointed(s: SimulationState, now_us: int, number: int, epoch: int) -> None:
    """A preempted node has released its job, which starts on another node or joins its queue."""
    node = s.nodes[number]
    if node.epoch != epoch:
        return
    slot = node.job
    ledger.record(s, now_us, _CHECKPOINTED, number, s.jobs[slot].number)
    computed_us = work_time.computed_us(
        ledger.elapsed_us(s, number, now_us), node.checkpoint_every_us, s.parameters[_CHECKPOINT]
    )
    _end_execution(s, now_us, number, computed_us, computed_us)
    if now_us < node.start_us + node.load_us:
        node.loaded = 0
    if not jobs.start_on_idle_node(s, now_us, slot):
        jobs.wait(s, slot)
    jobs.free(s, now_us, number)
    if s.jobs[slot].is_waiting:
        jobs.preempt_for(s, now_us, slot)


def _end_execution(
    s: SimulationState, now_us: int, number: int, computed_us: int, kept_us: int
) -> None:
    node = s.nodes[number]
    jobs.remove_running(s, number)
    ledger.end_execution(s, number, now_us, computed_us, kept_us)
    s.gauges[_BUSY] -= 1
    node.epoch += 1
    node.job = NIL


def _requeue(s: SimulationState, now_us: int, slot: int) -> None:
    s.jobs[slot].is_awaiting_requeue = 0
    ledger.record(s, now_us, _REQUEUE, NIL, s.jobs[slot].number)
    jobs.dispatch(s, now_us, slot)


def _ready(s: SimulationState, now_us: int, number: int) -> None:
    node = s.nodes[number]
    ledger.record(s, now_us, _READY, number, NIL)
    ledger.end_phase(s, number, now_us)
    s.gauges[_UP] += 1
    end_us = now_us + s.lifetime_us[node.lease, number]
    notice_us = s.pools[node.pool].notice_us
    if end_us < FOREVER_US:
        jobs.schedule(s, end_us, _LOSS, number, node.lease)
        if notice_us > 0 and end_us - notice_us <= now_us:
            node.is_draining = 1
        elif notice_us > 0:
            jobs.schedule(s, end_us - notice_us, _NOTICE, number, node.lease)
    jobs.free(s, now_us, number)


def _notice(s: SimulationState, now_us: int, number: int, lease: int) -> None:
    """Drain a node: it takes no more jobs, its current job continues."""
    node = s.nodes[number]
    if node.lease != lease or node.is_draining:
        return
    ledger.record(s, now_us, _NOTICE, number, NIL)
    jobs.remove_running(s, number)
    jobs.remove_idle(s, number)
    node.is_draining = node.is_warned = 1


def _shared_loss(s: SimulationState, now_us: int, number: int) -> None:
    """A loss shared by the pool reaches one node."""
    node = s.nodes[number]
    if node.phase == ABSENT or node.phase == STARTING or node.is_draining:
        return
    notice_us = s.pools[node.pool].notice_us
    if notice_us == 0:
        _loss(s, now_us, number, node.lease)
        return
    _notice(s, now_us, number, node.lease)
    jobs.schedule(s, now_us + notice_us, _LOSS, number, node.lease)


def _loss(s: SimulationState, now_us: int, number: int, lease: int) -> None:
    node = s.nodes[number]
    if node.lease != lease:
        return
    slot = node.job
    ledger.record(s, now_us, _LOSS, number, NIL if slot == NIL else s.jobs[slot].number)
    if slot == NIL:
        jobs.remove_idle(s, number)
        ledger.end_phase(s, number, now_us)
    else:
        computed_us, kept_us = _work_at_loss(s, now_us, number)
        _end_execution(s, now_us, number, computed_us, kept_us)
        detected_after_us = 0 if node.is_warned else s.parameters[_JOB_LEASE]
        s.jobs[slot].is_awaiting_requeue = 1
        jobs.schedule(s, now_us + detected_after_us, _REQUEUE, s.jobs[slot].number, slot)
    s.gauges[_UP] -= 1
    s.gauges[_LEASED] -= 1
    node.phase, node.loaded = ABSENT, 0
    absence_us = s.absence_us[node.lease, number]
    node.lease += 1
    s.counters[_MAX_LEASE] = max(s.counters[_MAX_LEASE], node.lease)
    node.is_draining = node.is_warned = 0
    jobs.schedule(s, now_us + absence_us, _LEASE, number, 0)


def _work_at_loss(s: SimulationState, now_us: int, number: int) -> tuple[int, int]:
    """Return the time that a lost node computed on its job, and how much of it is checkpointed."""
    node = s.nodes[number]
    checkpoint_us = s.parameters[_CHECKPOINT]
    elapsed_us = ledger.elapsed_us(s, number, now_us)
    if not s.parameters[_HAS_CHECKPOINTS]:
        return elapsed_us, 0
    if node.is_warned and s.pools[node.pool].notice_us >= checkpoint_us:
        computed_us = work_time.computed_us(
            max(0, elapsed_us - checkpoint_us), node.checkpoint_every_us, checkpoint_us
        )
        return computed_us, computed_us
    return (
        work_time.computed_us(elapsed_us, node.checkpoint_every_us, checkpoint_us),
        work_time.checkpointed_us(elapsed_us, node.checkpoint_every_us, checkpoint_us),
    )


def _lease(s: SimulationState, now_us: int, number: int) -> None:
    node = s.nodes[number]
    ledger.record(s, now_us, _LEASE, number, NIL)
    ledger.end_phase(s, number, now_us)
    s.gauges[_LEASED] += 1
    node.phase = STARTING
    jobs.schedule(s, now_us + s.startup_us[node.lease, number], _READY, number, 0)


COMPILED: tuple[Callable[..., Any], ...] = (
    *heaps.COMPILED, *ledger.COMPILED, *jobs.COMPILED,
    work_time.execution_us, work_time.work_done, work_time.with_checkpoints_us,
    work_time.computed_us, work_time.checkpointed_us, work_time.redone_us,
    work_time.remaining_estimate_s,
    policy.is_worthwhile, policy.rank_by, policy.rank_on_worker, policy.fair_start_after,
    begin, advance, _next_event, _handle, _finish, _checkpointed, _end_execution, _requeue, _ready,
    _notice, _shared_loss, _loss, _work_at_loss, _lease,
)  # fmt: skip
"""Every function that is compiled."""
