"""The compiled engine's rules: those of `plain`, on flat arrays, for fleets of a million nodes.

Plain functions that numba compiles (`machine`), and the policy's own formulas with them. Each
does what the method of the same name in `plain` does; the tests hold the two together, event for
event. Here: time, and nodes that come and go. Not here: jobs (`placing`), sums (`accounts`), the
structures (`calendar`, `queues`, `tree`) and the memory (`records`).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reelgrid.jobs import policy
from reelgrid.plan.simulation import accounts, calendar, placing, queues, tree, work_time
from reelgrid.plan.simulation.experiment import FOREVER_US
from reelgrid.plan.simulation.records import (
    ABSENT,
    NOBODY,
    STARTING,
    Counters,
    Parameters,
    SimulationState,
)
from reelgrid.plan.simulation.result import EventType, Gauge

DONE, FULL, SHORT = 0, 1, 2
"""Why `advance` comes back: the time is reached; the calendar is full; leases are not drawn."""

_ROOM = 8  # entries that one event adds at most

_FINISH, _SAVED, _READY = int(EventType.FINISH), int(EventType.CHECKPOINTED), int(EventType.READY)
_RETURN, _NOTICE, _STRIKE = (
    int(EventType.REQUEUE),
    int(EventType.NOTICE),
    int(EventType.SHARED_LOSS),
)
_LOSS, _LEASE, _ARRIVE = int(EventType.LOSS), int(EventType.LEASE), int(EventType.ARRIVE)
_BUSY, _UP, _LEASED = int(Gauge.BUSY), int(Gauge.UP), int(Gauge.LEASED)
_ENTRIES, _NEXT_STRIKE = int(Counters.ENTRIES), int(Counters.SHARED_LOSS)
_LEASES, _FIRST = int(Counters.LEASES), int(Counters.FIRST)
_SAVE, _MISSED, _KEEPS = int(Parameters.SAVE), int(Parameters.LEASE), int(Parameters.KEEPS)


def begin(w: SimulationState) -> None:
    """Lease all nodes at time 0."""
    w.watched[_LEASED] = len(w.nodes)
    for number in range(len(w.nodes)):
        placing.put(w, w.startup_us[0, number], _READY, number, 0)


def advance(
    w: SimulationState,
    until_us: int,
    index: int,
    at_us: NDArray[np.int64],
    stream: NDArray[np.int16],
    work_us: NDArray[np.int64],
    owner: NDArray[np.int32],
) -> tuple[int, int]:
    """Let happen what comes before `until_us`.

    Args:
        w: The world.
        until_us: Where to stop.
        index: Which of the arrivals is next.
        at_us: When jobs arrive.
        stream: Their streams.
        work_us: Their work.
        owner: Their owners, -1 for one of their own.

    Returns:
        Why it stopped, and which arrival is next.
    """
    while True:
        if w.now[_ENTRIES] + _ROOM > len(w.calendar):
            return FULL, index
        if w.now[_LEASES] + 1 >= len(w.lifetime_us):
            return SHORT, index
        time_us, order, epoch = _next(w, index, at_us)
        accounts.watch_until(w, min(time_us, until_us))
        if time_us >= until_us:
            return DONE, index
        event, whom = calendar.event_of(order), calendar.whom_of(order)
        if event == _ARRIVE:
            number = w.now[_FIRST] + index
            placing.arrive(w, time_us, number, stream[index], work_us[index], owner[index])
            index += 1
        elif event == _STRIKE:
            w.now[_NEXT_STRIKE] += 1
            _strike(w, time_us, w.struck[whom])
        else:
            w.now[_ENTRIES] = calendar.drop_first(w.calendar, w.now[_ENTRIES])
            _happen(w, time_us, event, whom, epoch)


def _next(w: SimulationState, index: int, at_us: NDArray[np.int64]) -> tuple[int, int, int]:
    """Return time, order and epoch of what is next: of the calendar, the strikes, the arrivals."""
    time_us, order, epoch = FOREVER_US, 0, 0
    if w.now[_ENTRIES] > 0:
        entry = w.calendar[0]
        time_us, order, epoch = entry.time_us, entry.order, entry.epoch
    number = w.now[_NEXT_STRIKE]
    if number < len(w.strike_us):
        other = calendar.order_of(_STRIKE, number)
        if w.strike_us[number] < time_us or (w.strike_us[number] == time_us and other < order):
            time_us, order = w.strike_us[number], other
    if index < len(at_us):
        other = calendar.order_of(_ARRIVE, index)
        if at_us[index] < time_us or (at_us[index] == time_us and other < order):
            time_us, order = at_us[index], other
    return time_us, order, epoch


def _happen(w: SimulationState, now_us: int, event: int, whom: int, epoch: int) -> None:
    if event == _FINISH:
        _finish(w, now_us, whom, epoch)
    elif event == _SAVED:
        _saved(w, now_us, whom, epoch)
    elif event == _READY:
        _ready(w, now_us, whom)
    elif event == _RETURN:
        _return(w, now_us, epoch)
    elif event == _NOTICE:
        _announce(w, now_us, whom, epoch)
    elif event == _LOSS:
        _lose(w, now_us, whom, epoch)
    else:
        _lease(w, now_us, whom)


def _finish(w: SimulationState, now_us: int, number: int, epoch: int) -> None:
    node = w.nodes[number]
    if node.epoch != epoch:
        return
    slot = node.job
    job = w.jobs[slot]
    accounts.note(w, now_us, _FINISH, number, job.number)
    _end_stay(w, now_us, number, node.total_us, node.total_us)
    w.turnaround_us[job.number] = now_us - job.arrived_us
    w.kept_work_us[job.stream] += job.work_us
    placing.leave(w, slot)
    placing.free(w, now_us, number)


def _saved(w: SimulationState, now_us: int, number: int, epoch: int) -> None:
    """A node has given its job back: another takes it, or it waits like any other."""
    node = w.nodes[number]
    if node.epoch != epoch:
        return
    slot = node.job
    accounts.note(w, now_us, _SAVED, number, w.jobs[slot].number)
    computed_us = work_time.computed_us(
        accounts.elapsed_us(w, number, now_us), node.every_us, w.rules[_SAVE]
    )
    _end_stay(w, now_us, number, computed_us, computed_us)
    if now_us < node.begin_us + node.load_us:
        node.warm = 0
    if not placing.start_on_idle(w, now_us, slot):
        placing.wait(w, slot)
    placing.free(w, now_us, number)
    if w.jobs[slot].is_waiting:
        placing.ask_to_yield(w, now_us, slot)


def _end_stay(w: SimulationState, now_us: int, number: int, computed_us: int, kept_us: int) -> None:
    node = w.nodes[number]
    placing.unlist_running(w, number)
    accounts.end_stay(w, number, now_us, computed_us, kept_us)
    w.watched[_BUSY] -= 1
    node.epoch += 1
    node.job = NOBODY


def _return(w: SimulationState, now_us: int, slot: int) -> None:
    w.jobs[slot].is_away = 0
    accounts.note(w, now_us, _RETURN, NOBODY, w.jobs[slot].number)
    placing.enter(w, now_us, slot)


def _ready(w: SimulationState, now_us: int, number: int) -> None:
    node = w.nodes[number]
    accounts.note(w, now_us, _READY, number, NOBODY)
    accounts.end_phase(w, number, now_us)
    w.watched[_UP] += 1
    end_us = now_us + w.lifetime_us[node.lease, number]
    notice_us = w.pools[node.pool].notice_us
    if end_us < FOREVER_US:
        placing.put(w, end_us, _LOSS, number, node.lease)
        if notice_us > 0 and end_us - notice_us <= now_us:
            node.is_draining = 1
        elif notice_us > 0:
            placing.put(w, end_us - notice_us, _NOTICE, number, node.lease)
    placing.free(w, now_us, number)


def _announce(w: SimulationState, now_us: int, number: int, lease: int) -> None:
    """From now on a node takes no more jobs; the one it has goes on."""
    node = w.nodes[number]
    if node.lease != lease or node.is_draining:
        return
    accounts.note(w, now_us, _NOTICE, number, NOBODY)
    placing.unlist_running(w, number)
    placing.unlist_idle(w, number)
    node.is_draining = node.is_warned = 1


def _strike(w: SimulationState, now_us: int, number: int) -> None:
    """A loss that the whole pool shares reaches one node."""
    node = w.nodes[number]
    if node.phase == ABSENT or node.phase == STARTING or node.is_draining:
        return
    notice_us = w.pools[node.pool].notice_us
    if notice_us == 0:
        _lose(w, now_us, number, node.lease)
        return
    _announce(w, now_us, number, node.lease)
    placing.put(w, now_us + notice_us, _LOSS, number, node.lease)


def _lose(w: SimulationState, now_us: int, number: int, lease: int) -> None:
    node = w.nodes[number]
    if node.lease != lease:
        return
    slot = node.job
    accounts.note(w, now_us, _LOSS, number, NOBODY if slot == NOBODY else w.jobs[slot].number)
    if slot == NOBODY:
        placing.unlist_idle(w, number)
        accounts.end_phase(w, number, now_us)
    else:
        computed_us, kept_us = _saved_from(w, now_us, number)
        _end_stay(w, now_us, number, computed_us, kept_us)
        missed_us = 0 if node.is_warned else w.rules[_MISSED]
        w.jobs[slot].is_away = 1
        placing.put(w, now_us + missed_us, _RETURN, w.jobs[slot].number, slot)
    w.watched[_UP] -= 1
    w.watched[_LEASED] -= 1
    node.phase, node.warm = ABSENT, 0
    absence_us = w.absence_us[node.lease, number]
    node.lease += 1
    w.now[_LEASES] = max(w.now[_LEASES], node.lease)
    node.is_draining = node.is_warned = 0
    placing.put(w, now_us + absence_us, _LEASE, number, 0)


def _saved_from(w: SimulationState, now_us: int, number: int) -> tuple[int, int]:
    """Return how long a node that is lost has worked on its job, and what of it is saved."""
    node = w.nodes[number]
    checkpoint_us = w.rules[_SAVE]
    elapsed_us = accounts.elapsed_us(w, number, now_us)
    if not w.rules[_KEEPS]:
        return elapsed_us, 0
    if node.is_warned and w.pools[node.pool].notice_us >= checkpoint_us:
        computed_us = work_time.computed_us(
            max(0, elapsed_us - checkpoint_us), node.every_us, checkpoint_us
        )
        return computed_us, computed_us
    return (
        work_time.computed_us(elapsed_us, node.every_us, checkpoint_us),
        work_time.saved_us(elapsed_us, node.every_us, checkpoint_us),
    )


def _lease(w: SimulationState, now_us: int, number: int) -> None:
    node = w.nodes[number]
    accounts.note(w, now_us, _LEASE, number, NOBODY)
    accounts.end_phase(w, number, now_us)
    w.watched[_LEASED] += 1
    node.phase = STARTING
    placing.put(w, now_us + w.startup_us[node.lease, number], _READY, number, 0)


COMPILED: tuple[Callable[..., Any], ...] = (
    *calendar.COMPILED, *queues.COMPILED, *tree.COMPILED, *accounts.COMPILED, *placing.COMPILED,
    work_time.worker_us, work_time.work_done, work_time.with_saves_us, work_time.computed_us,
    work_time.saved_us, work_time.again_us, work_time.estimate_left_s,
    policy.is_worthwhile, policy.rank_by, policy.rank_on_worker, policy.fair_start_after,
    begin, advance, _next, _happen, _finish, _saved, _end_stay, _return, _ready, _announce, _strike, _lose,
    _saved_from, _lease,
)  # fmt: skip
"""Every function that is compiled."""
