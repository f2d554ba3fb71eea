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


def schedule(s: SimulationState, time_us: int, event: int, subject: int, epoch: int) -> None:
    """Put an event on the heap unless it lies beyond the horizon."""
    if time_us < s.parameters[_HORIZON]:
        key = heaps.key_of(event, subject)
        s.counters[_NUM_EVENTS] = heaps.push_event(
            s.event_heap, s.counters[_NUM_EVENTS], time_us, key, epoch
        )


def admit(
    s: SimulationState, now_us: int, number: int, stream: int, work_us: int, owner: int
) -> None:
    """Rank an arriving job behind the unfinished jobs of its owner and dispatch it."""
    slot = s.counters[_FREE_JOB]
    job = s.jobs[slot]
    s.counters[_FREE_JOB] = job.sibling
    job.number, job.stream, job.owner = number, stream, owner
    job.arrived_us, job.work_us = now_us, work_us
    job.kept_us = job.progress_mark_us = 0
    job.is_waiting = job.is_awaiting_requeue = 0
    of_stream = s.streams[stream]
    now_s = now_us / US
    job.estimate_s = work_us / US if s.parameters[_EXACT] else of_stream.mean_s
    job.fair_start_s = _fair_start_s(s, slot, owner, now_s)
    due_s = now_s + of_stream.due_after_s
    job.rank = rank_by(now_s, job.fair_start_s, job.estimate_s, of_stream.delay_s, due_s)
    ledger.record(s, now_us, _ARRIVE, NIL, number)
    dispatch(s, now_us, slot)


def _fair_start_s(s: SimulationState, slot: int, owner: int, now_s: float) -> float:
    """Return the fair start of a job and append the job to its owner's list."""
    job = s.jobs[slot]
    job.prev = job.next = NIL
    if owner < 0:
        return now_s
    last = s.owner_tails[owner]
    s.owner_tails[owner] = slot
    if last == NIL:
        return now_s
    job.prev = last
    s.jobs[last].next = slot
    return float(fair_start_after(now_s, s.jobs[last].fair_start_s, s.jobs[last].estimate_s))


def leave(s: SimulationState, slot: int) -> None:
    """Remove a finished job from its owner's list and free its slot."""
    job = s.jobs[slot]
    if job.prev != NIL:
        s.jobs[job.prev].next = job.next
    if job.next != NIL:
        s.jobs[job.next].prev = job.prev
    elif job.owner >= 0:
        s.owner_tails[job.owner] = job.prev
    job.number = NIL
    job.sibling = s.counters[_FREE_JOB]
    s.counters[_FREE_JOB] = slot


def dispatch(s: SimulationState, now_us: int, slot: int) -> None:
    """Start a job on an idle node, or queue it and preempt a running job if the policy says so."""
    if not start_on_idle_node(s, now_us, slot):
        wait(s, slot)
        preempt_for(s, now_us, slot)


def start_on_idle_node(s: SimulationState, now_us: int, slot: int) -> bool:
    """Start a job on the idle node that would finish it first; return whether there is one."""
    number = _best_idle_node(s, slot)
    if number >= 0:
        start(s, now_us, number, slot)
    return number >= 0


def wait(s: SimulationState, slot: int) -> None:
    """Add a job to its queue."""
    queue = s.streams[s.jobs[slot].stream].queue
    s.queue_heads[queue] = heaps.insert_job(s.jobs, s.queue_heads[queue], slot)
    s.jobs[slot].is_waiting = 1
    s.gauges[_WAITING] += 1


def preempt_for(s: SimulationState, now_us: int, slot: int) -> None:
    """Preempt the running job that the policy chooses for a waiting one, if any."""
    if not s.parameters[_HAS_PREEMPTION]:
        return
    job = s.jobs[slot]
    of_stream = s.streams[job.stream]
    left_us = job.work_us - job.kept_us
    estimate_s = work_time.remaining_estimate_s(job.estimate_s, left_us, job.work_us)
    victim = NIL
    for kind in range(len(s.kinds)):
        if not s.fits[kind, of_stream.queue]:
            continue
        for model in range(s.treap_roots.shape[1]):
            is_warm = model == of_stream.model
            found = _victim_in(s, now_us, kind, model, job.rank, estimate_s, is_warm)
            victim = heaps.treap_larger(s.treap, victim, found)
    if victim != NIL:
        _preempt(s, now_us, victim)


def _victim_in(
    s: SimulationState,
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
    load_s = s.kinds[kind].load_s
    preemption_cost_s = (s.parameters[_CHECKPOINT] + s.parameters[_RESUME]) / US
    found, top = NIL, s.treap_roots[kind, model]
    if top == NIL:
        return NIL
    largest = s.treap[s.treap[top].best].rank
    if not is_worthwhile(largest, math.inf, preemption_cost_s, load_s, rank, estimate_s, is_warm):
        return NIL
    while top >= 0:
        remaining_s = (s.treap[top].finish_us - now_us) / US
        if is_worthwhile(
            math.inf, remaining_s, preemption_cost_s, load_s, rank, estimate_s, is_warm
        ):
            found = heaps.treap_larger(s.treap, found, heaps.treap_best_after(s.treap, top))
            top = s.treap[top].left
        else:
            top = s.treap[top].right
    if found == NIL:
        return NIL
    largest = s.treap[found].rank
    is_worth_it = is_worthwhile(
        largest, math.inf, preemption_cost_s, load_s, rank, estimate_s, is_warm
    )
    return found if is_worth_it else NIL


def _preempt(s: SimulationState, now_us: int, number: int) -> None:
    """Make a node checkpoint its job and release it; without new work there is no checkpoint."""
    node = s.nodes[number]
    remove_running(s, number)
    node.phase = PREEMPTED
    node.epoch += 1
    node.preempted_us = now_us
    compute_us = node.start_us + node.load_us + node.resume_us
    checkpoint_us = s.parameters[_CHECKPOINT] if now_us > compute_us else 0
    ledger.record(s, now_us, _PREEMPT, number, s.jobs[node.job].number)
    schedule(s, now_us + checkpoint_us, _CHECKPOINTED, number, node.epoch)


def _best_idle_node(s: SimulationState, slot: int) -> int:
    """Return the idle node that would finish the job first; of equals the one that became idle last."""
    job = s.jobs[slot]
    of_stream = s.streams[job.stream]
    best_us, best = FOREVER_US, NIL
    for kind in range(len(s.kinds)):
        if not s.fits[kind, of_stream.queue]:
            continue
        number = _last_idle_node(s, kind, of_stream.model)
        if number == NIL:
            continue
        us = work_time.execution_us(job.work_us - job.kept_us, s.time_factor[kind, job.stream])
        if s.nodes[number].loaded != of_stream.model + 1:
            us += s.kinds[kind].load_us
        if us < best_us:
            best_us, best = us, number
    return best


def _last_idle_node(s: SimulationState, kind: int, model: int) -> int:
    """Return the node that became idle last: with the model loaded, else with none, else any."""
    if s.idle_lists[kind, model + 1] != NIL:
        return int(s.idle_lists[kind, model + 1])
    for loaded in range(s.idle_lists.shape[1]):
        if s.idle_lists[kind, loaded] != NIL:
            return int(s.idle_lists[kind, loaded])
    return NIL


def add_idle(s: SimulationState, number: int) -> None:
    """Put a node at the front of the idle list of its kind and model."""
    node = s.nodes[number]
    prev = s.idle_lists[node.kind, node.loaded]
    node.prev, node.next = prev, NIL
    if prev != NIL:
        s.nodes[prev].next = number
    s.idle_lists[node.kind, node.loaded] = number
    node.is_listed = 1


def remove_idle(s: SimulationState, number: int) -> None:
    """Remove a node from its idle list, if it is listed."""
    node = s.nodes[number]
    if not node.is_listed:
        return
    if node.prev != NIL:
        s.nodes[node.prev].next = node.next
    if node.next != NIL:
        s.nodes[node.next].prev = node.prev
    else:
        s.idle_lists[node.kind, node.loaded] = node.prev
    node.is_listed = 0


def _take_job(s: SimulationState, number: int) -> int:
    """Take the job that `policy.choose` gives a free node off its queue; -1 for none."""
    node = s.nodes[number]
    load_s = s.kinds[node.kind].load_s
    best_rank, best = math.inf, NIL
    for queue in range(len(s.queue_heads)):
        head = s.queue_heads[queue]
        if head == NIL or not s.fits[node.kind, queue]:
            continue
        rank = rank_on_worker(s.jobs[head].rank, load_s, node.loaded == s.queue_model[queue] + 1)
        is_equal = rank == best_rank and best != NIL
        if (
            best == NIL
            or rank < best_rank
            or (is_equal and heaps.is_job_before(s.jobs, head, best))
        ):
            best_rank, best = rank, head
    if best != NIL:
        queue = s.streams[s.jobs[best].stream].queue
        s.queue_heads[queue] = heaps.pop_job(s.jobs, best)
        s.jobs[best].is_waiting = 0
        s.gauges[_WAITING] -= 1
    return best


def free(s: SimulationState, now_us: int, number: int) -> None:
    """Let a ready node without a job take one, or make it idle."""
    node = s.nodes[number]
    node.phase, node.phase_start_us = IDLE, now_us
    if node.is_draining:
        return
    slot = _take_job(s, number)
    if slot == NIL:
        add_idle(s, number)
    else:
        start(s, now_us, number, slot)


def start(s: SimulationState, now_us: int, number: int, slot: int) -> None:
    """Start a job on a node."""
    node, job = s.nodes[number], s.jobs[slot]
    remove_idle(s, number)
    ledger.end_phase(s, number, now_us)
    loaded = s.streams[job.stream].model + 1
    node.job, node.start_us, node.preempted_us = slot, now_us, -1
    node.load_us = 0 if node.loaded == loaded else s.kinds[node.kind].load_us
    node.resume_us = s.parameters[_RESUME] if job.kept_us > 0 else 0
    node.work_us = job.work_us - job.kept_us
    node.total_us = work_time.execution_us(node.work_us, s.time_factor[node.kind, job.stream])
    node.checkpoint_every_us = (
        s.pools[node.pool].checkpoint_every_us if s.parameters[_HAS_CHECKPOINTS] else 0
    )
    execution_us = work_time.with_checkpoints_us(
        node.total_us, node.checkpoint_every_us, s.parameters[_CHECKPOINT]
    )
    node.finish_us = now_us + node.load_us + node.resume_us + execution_us
    node.phase, node.loaded = BUSY, loaded
    node.epoch += 1
    s.gauges[_BUSY] += 1
    if s.wait_us[job.number] < 0:
        s.wait_us[job.number] = now_us - job.arrived_us
    ledger.record(s, now_us, _START, number, job.number)
    schedule(s, node.finish_us, _FINISH, number, node.epoch)
    _add_running(s, number)


def _add_running(s: SimulationState, number: int) -> None:
    if not s.parameters[_HAS_PREEMPTION]:
        return
    node, entry = s.nodes[number], s.treap[number]
    entry.finish_us = node.finish_us
    entry.rank = s.jobs[node.job].rank
    entry.job = s.jobs[node.job].number
    heaps.treap_insert(s.treap, s.treap_roots, node.kind, node.loaded - 1, number, s.treap_path)


def remove_running(s: SimulationState, number: int) -> None:
    """Remove a node from the jobs that may be preempted, if it is among them."""
    node = s.nodes[number]
    if s.parameters[_HAS_PREEMPTION] and node.phase == BUSY and not node.is_draining:
        heaps.treap_remove(s.treap, s.treap_roots, node.kind, node.loaded - 1, number, s.treap_path)


COMPILED = (
    schedule, admit, _fair_start_s, leave, dispatch, start_on_idle_node, wait, preempt_for, _victim_in, _preempt,
    _best_idle_node, _last_idle_node, add_idle, remove_idle, _take_job, free, start, _add_running,
    remove_running,
)  # fmt: skip
