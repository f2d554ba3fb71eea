"""Events of jobs in the fast engine: admission, queueing, start and preemption."""

import math

from reelgrid.jobs.policy import fair_start_after, is_worthwhile, rank_by, rank_on_worker
from reelgrid.plan.simulation import work_time
from reelgrid.plan.simulation.experiment import FOREVER_US, US
from reelgrid.plan.simulation.fast import heaps, ledger
from reelgrid.plan.simulation.fast.arrays import (
    BUSY,
    IDLE,
    NIL,
    PREEMPTED,
    Counters,
    Parameters,
    SimulationState,
)
from reelgrid.plan.simulation.result import EventType, Gauge

_FINISH, _CHECKPOINTED = int(EventType.FINISH), int(EventType.CHECKPOINTED)
_ARRIVE = int(EventType.ARRIVE)
_START, _PREEMPT = int(EventType.START), int(EventType.PREEMPT)
_WAITING, _BUSY = int(Gauge.WAITING), int(Gauge.BUSY)
_NUM_EVENTS, _FREE_JOB = int(Counters.NUM_EVENTS), int(Counters.FREE_JOB)
_HORIZON, _CHECKPOINT = int(Parameters.HORIZON), int(Parameters.CHECKPOINT)
_RESUME, _HAS_PREEMPTION = int(Parameters.RESUME), int(Parameters.HAS_PREEMPTION)
_HAS_CHECKPOINTS, _EXACT = int(Parameters.HAS_CHECKPOINTS), int(Parameters.EXACT)


def schedule(state: SimulationState, time_us: int, event: int, subject: int, epoch: int) -> None:
    """Put an event on the heap unless it lies beyond the horizon."""
    if time_us < state.parameters[_HORIZON]:
        key = heaps.key_of(event, subject)
        state.counters[_NUM_EVENTS] = heaps.push_event(
            state.event_heap, state.counters[_NUM_EVENTS], time_us, key, epoch
        )


def admit(
    state: SimulationState, now_us: int, number: int, stream: int, work_us: int, owner: int
) -> None:
    """Rank an arriving job behind the unfinished jobs of its owner and dispatch it."""
    slot = state.counters[_FREE_JOB]
    job = state.jobs[slot]
    state.counters[_FREE_JOB] = job.sibling
    job.number, job.stream, job.owner = number, stream, owner
    job.arrived_us, job.work_us = now_us, work_us
    job.kept_us = job.progress_mark_us = 0
    job.is_waiting = job.is_awaiting_requeue = 0
    of_stream = state.streams[stream]
    now_s = now_us / US
    job.estimate_s = work_us / US if state.parameters[_EXACT] else of_stream.mean_s
    job.fair_start_s = _fair_start_s(state, slot, owner, now_s)
    due_s = now_s + of_stream.due_after_s
    job.rank = rank_by(now_s, job.fair_start_s, job.estimate_s, of_stream.delay_s, due_s)
    ledger.record(state, now_us, _ARRIVE, NIL, number)
    dispatch(state, now_us, slot)


def _fair_start_s(state: SimulationState, slot: int, owner: int, now_s: float) -> float:
    """Return the fair start of a job and append the job to its owner's list."""
    job = state.jobs[slot]
    job.prev = job.next = NIL
    if owner < 0:
        return now_s
    last = state.owner_tails[owner]
    state.owner_tails[owner] = slot
    if last == NIL:
        return now_s
    job.prev = last
    state.jobs[last].next = slot
    return float(
        fair_start_after(now_s, state.jobs[last].fair_start_s, state.jobs[last].estimate_s)
    )


def leave(state: SimulationState, slot: int) -> None:
    """Remove a finished job from its owner's list and free its slot."""
    job = state.jobs[slot]
    if job.prev != NIL:
        state.jobs[job.prev].next = job.next
    if job.next != NIL:
        state.jobs[job.next].prev = job.prev
    elif job.owner >= 0:
        state.owner_tails[job.owner] = job.prev
    job.number = NIL
    job.sibling = state.counters[_FREE_JOB]
    state.counters[_FREE_JOB] = slot


def dispatch(state: SimulationState, now_us: int, slot: int) -> None:
    """Start a job on an idle node, or queue it and preempt a running job if the policy says so."""
    if not start_on_idle_node(state, now_us, slot):
        wait(state, slot)
        preempt_for(state, now_us, slot)


def start_on_idle_node(state: SimulationState, now_us: int, slot: int) -> bool:
    """Start a job on the idle node that would finish it first; return whether there is one."""
    number = _best_idle_node(state, slot)
    if number >= 0:
        start(state, now_us, number, slot)
    return number >= 0


def wait(state: SimulationState, slot: int) -> None:
    """Add a job to its queue."""
    queue = state.streams[state.jobs[slot].stream].queue
    state.queue_heads[queue] = heaps.insert_job(state.jobs, state.queue_heads[queue], slot)
    state.jobs[slot].is_waiting = 1
    state.gauges[_WAITING] += 1


def preempt_for(state: SimulationState, now_us: int, slot: int) -> None:
    """Preempt the running job that the policy chooses for a waiting one, if any."""
    if not state.parameters[_HAS_PREEMPTION]:
        return
    job = state.jobs[slot]
    of_stream = state.streams[job.stream]
    left_us = job.work_us - job.kept_us
    estimate_s = work_time.remaining_estimate_s(job.estimate_s, left_us, job.work_us)
    victim = NIL
    for kind in range(len(state.kinds)):
        if not state.fits[kind, of_stream.queue]:
            continue
        for model in range(state.treap_roots.shape[1]):
            is_warm = model == of_stream.model
            found = _victim_in(state, now_us, kind, model, job.rank, estimate_s, is_warm)
            victim = heaps.treap_larger(state.treap, victim, found)
    if victim != NIL:
        _preempt(state, now_us, victim)


def _victim_in(
    state: SimulationState,
    now_us: int,
    kind: int,
    model: int,
    rank: float,
    estimate_s: float,
    is_warm: bool,
) -> int:
    """Return the node to preempt among those with one model on one kind, or -1.

    `is_worthwhile` is monotone in the rank of the running job and in its remaining time: with one
    of them infinite it is a condition on the other. Of the jobs that finish late enough, the one
    with the largest rank is the candidate.
    """
    load_s = state.kinds[kind].load_s
    preemption_cost_s = (state.parameters[_CHECKPOINT] + state.parameters[_RESUME]) / US
    found, top = NIL, state.treap_roots[kind, model]
    if top == NIL:
        return NIL
    largest = state.treap[state.treap[top].best].rank
    if not is_worthwhile(largest, math.inf, preemption_cost_s, load_s, rank, estimate_s, is_warm):
        return NIL
    while top >= 0:
        remaining_s = (state.treap[top].finish_us - now_us) / US
        if is_worthwhile(
            math.inf, remaining_s, preemption_cost_s, load_s, rank, estimate_s, is_warm
        ):
            found = heaps.treap_larger(state.treap, found, heaps.treap_best_after(state.treap, top))
            top = state.treap[top].left
        else:
            top = state.treap[top].right
    if found == NIL:
        return NIL
    largest = state.treap[found].rank
    is_worth_it = is_worthwhile(
        largest, math.inf, preemption_cost_s, load_s, rank, estimate_s, is_warm
    )
    return found if is_worth_it else NIL


def _preempt(state: SimulationState, now_us: int, number: int) -> None:
    """Make a node checkpoint its job and release it; without new work there is no checkpoint."""
    node = state.nodes[number]
    remove_running(state, number)
    node.phase = PREEMPTED
    node.epoch += 1
    node.preempted_us = now_us
    compute_us = node.start_us + node.load_us + node.resume_us
    checkpoint_us = state.parameters[_CHECKPOINT] if now_us > compute_us else 0
    ledger.record(state, now_us, _PREEMPT, number, state.jobs[node.job].number)
    schedule(state, now_us + checkpoint_us, _CHECKPOINTED, number, node.epoch)


def _best_idle_node(state: SimulationState, slot: int) -> int:
    """Return the idle node that would finish the job first; of equals the one that became idle last."""
    job = state.jobs[slot]
    of_stream = state.streams[job.stream]
    best_us, best = FOREVER_US, NIL
    for kind in range(len(state.kinds)):
        if not state.fits[kind, of_stream.queue]:
            continue
        number = _last_idle_node(state, kind, of_stream.model)
        if number == NIL:
            continue
        us = work_time.execution_us(job.work_us - job.kept_us, state.time_factor[kind, job.stream])
        if state.nodes[number].loaded != of_stream.model + 1:
            us += state.kinds[kind].load_us
        if us < best_us:
            best_us, best = us, number
    return best


def _last_idle_node(state: SimulationState, kind: int, model: int) -> int:
    """Return the node that became idle last: with the model loaded, else with none, else any."""
    if state.idle_lists[kind, model + 1] != NIL:
        return int(state.idle_lists[kind, model + 1])
    for loaded in range(state.idle_lists.shape[1]):
        if state.idle_lists[kind, loaded] != NIL:
            return int(state.idle_lists[kind, loaded])
    return NIL


def add_idle(state: SimulationState, number: int) -> None:
    """Put a node at the front of the idle list of its kind and model."""
    node = state.nodes[number]
    prev = state.idle_lists[node.kind, node.loaded]
    node.prev, node.next = prev, NIL
    if prev != NIL:
        state.nodes[prev].next = number
    state.idle_lists[node.kind, node.loaded] = number
    node.is_listed = 1


def remove_idle(state: SimulationState, number: int) -> None:
    """Remove a node from its idle list, if it is listed."""
    node = state.nodes[number]
    if not node.is_listed:
        return
    if node.prev != NIL:
        state.nodes[node.prev].next = node.next
    if node.next != NIL:
        state.nodes[node.next].prev = node.prev
    else:
        state.idle_lists[node.kind, node.loaded] = node.prev
    node.is_listed = 0


def _take_job(state: SimulationState, number: int) -> int:
    """Take the job that `policy.choose` gives a free node off its queue; -1 for none."""
    node = state.nodes[number]
    load_s = state.kinds[node.kind].load_s
    best_rank, best = math.inf, NIL
    for queue in range(len(state.queue_heads)):
        head = state.queue_heads[queue]
        if head == NIL or not state.fits[node.kind, queue]:
            continue
        rank = rank_on_worker(
            state.jobs[head].rank, load_s, node.loaded == state.queue_model[queue] + 1
        )
        is_equal = rank == best_rank and best != NIL
        if (
            best == NIL
            or rank < best_rank
            or (is_equal and heaps.is_job_before(state.jobs, head, best))
        ):
            best_rank, best = rank, head
    if best != NIL:
        queue = state.streams[state.jobs[best].stream].queue
        state.queue_heads[queue] = heaps.pop_job(state.jobs, best)
        state.jobs[best].is_waiting = 0
        state.gauges[_WAITING] -= 1
    return best


def free(state: SimulationState, now_us: int, number: int) -> None:
    """Let a ready node without a job take one, or make it idle."""
    node = state.nodes[number]
    node.phase, node.phase_start_us = IDLE, now_us
    if node.is_draining:
        return
    slot = _take_job(state, number)
    if slot == NIL:
        add_idle(state, number)
    else:
        start(state, now_us, number, slot)


def start(state: SimulationState, now_us: int, number: int, slot: int) -> None:
    """Start a job on a node."""
    node, job = state.nodes[number], state.jobs[slot]
    remove_idle(state, number)
    ledger.end_phase(state, number, now_us)
    loaded = state.streams[job.stream].model + 1
    node.job, node.start_us, node.preempted_us = slot, now_us, -1
    node.load_us = 0 if node.loaded == loaded else state.kinds[node.kind].load_us
    node.resume_us = state.parameters[_RESUME] if job.kept_us > 0 else 0
    node.work_us = job.work_us - job.kept_us
    node.total_us = work_time.execution_us(node.work_us, state.time_factor[node.kind, job.stream])
    node.checkpoint_every_us = (
        state.pools[node.pool].checkpoint_every_us if state.parameters[_HAS_CHECKPOINTS] else 0
    )
    execution_us = work_time.with_checkpoints_us(
        node.total_us, node.checkpoint_every_us, state.parameters[_CHECKPOINT]
    )
    node.finish_us = now_us + node.load_us + node.resume_us + execution_us
    node.phase, node.loaded = BUSY, loaded
    node.epoch += 1
    state.gauges[_BUSY] += 1
    if state.wait_us[job.number] < 0:
        state.wait_us[job.number] = now_us - job.arrived_us
    ledger.record(state, now_us, _START, number, job.number)
    schedule(state, node.finish_us, _FINISH, number, node.epoch)
    _add_running(state, number)


def _add_running(state: SimulationState, number: int) -> None:
    if not state.parameters[_HAS_PREEMPTION]:
        return
    node, entry = state.nodes[number], state.treap[number]
    entry.finish_us = node.finish_us
    entry.rank = state.jobs[node.job].rank
    entry.job = state.jobs[node.job].number
    heaps.treap_insert(
        state.treap, state.treap_roots, node.kind, node.loaded - 1, number, state.treap_path
    )


def remove_running(state: SimulationState, number: int) -> None:
    """Remove a node from the jobs that may be preempted, if it is among them."""
    node = state.nodes[number]
    if state.parameters[_HAS_PREEMPTION] and node.phase == BUSY and not node.is_draining:
        heaps.treap_remove(
            state.treap, state.treap_roots, node.kind, node.loaded - 1, number, state.treap_path
        )


COMPILED = (
    schedule, admit, _fair_start_s, leave, dispatch, start_on_idle_node, wait, preempt_for, _victim_in, _preempt,
    _best_idle_node, _last_idle_node, add_idle, remove_idle, _take_job, free, start, _add_running,
    remove_running,
)  # fmt: skip
