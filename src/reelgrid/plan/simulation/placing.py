"""The compiled engine's side of jobs: admitted, started, waiting, giving way; as in `plain`."""

import math

from reelgrid.jobs.policy import fair_start_after, is_worthwhile, rank_by, rank_on_worker
from reelgrid.plan.simulation import accounts, calendar, queues, tree, work_time
from reelgrid.plan.simulation.experiment import FOREVER_US, US
from reelgrid.plan.simulation.records import (
    BUSY,
    IDLE,
    NOBODY,
    PREEMPTED,
    Counters,
    Parameters,
    SimulationState,
)
from reelgrid.plan.simulation.result import EventType, Gauge

_FINISH, _SAVED, _ARRIVE = int(EventType.FINISH), int(EventType.CHECKPOINTED), int(EventType.ARRIVE)
_START, _YIELD = int(EventType.START), int(EventType.PREEMPT)
_WAITING, _BUSY = int(Gauge.WAITING), int(Gauge.BUSY)
_ENTRIES, _FREE_JOB = int(Counters.ENTRIES), int(Counters.FREE_JOB)
_HORIZON, _SAVE, _RESUME = int(Parameters.HORIZON), int(Parameters.SAVE), int(Parameters.RESUME)
_PREEMPTS, _KEEPS, _EXACT = int(Parameters.PREEMPTS), int(Parameters.KEEPS), int(Parameters.EXACT)


def put(w: SimulationState, time_us: int, event: int, whom: int, epoch: int) -> None:
    """Put an entry on the calendar, unless the run is over by then."""
    if time_us < w.rules[_HORIZON]:
        order = calendar.order_of(event, whom)
        w.now[_ENTRIES] = calendar.push(w.calendar, w.now[_ENTRIES], time_us, order, epoch)


def arrive(
    w: SimulationState, now_us: int, number: int, stream: int, work_us: int, owner: int
) -> None:
    """Admit a job: its rank, its place behind the others of its owner."""
    slot = w.now[_FREE_JOB]
    job = w.jobs[slot]
    w.now[_FREE_JOB] = job.sibling
    job.number, job.stream, job.owner = number, stream, owner
    job.arrived_us, job.work_us = now_us, work_us
    job.kept_us = job.reached_us = 0
    job.is_waiting = job.is_away = 0
    about = w.streams[stream]
    now_s = now_us / US
    job.estimate_s = work_us / US if w.rules[_EXACT] else about.mean_s
    job.fair_start_s = _turn(w, slot, owner, now_s)
    due_s = now_s + about.due_after_s
    job.rank = rank_by(now_s, job.fair_start_s, job.estimate_s, about.delay_s, due_s)
    accounts.note(w, now_us, _ARRIVE, NOBODY, number)
    enter(w, now_us, slot)


def _turn(w: SimulationState, slot: int, owner: int, now_s: float) -> float:
    """Return a job's turn and make it the last of its owner's."""
    job = w.jobs[slot]
    job.older = job.newer = NOBODY
    if owner < 0:
        return now_s
    last = w.tails[owner]
    w.tails[owner] = slot
    if last == NOBODY:
        return now_s
    job.older = last
    w.jobs[last].newer = slot
    return float(fair_start_after(now_s, w.jobs[last].fair_start_s, w.jobs[last].estimate_s))


def leave(w: SimulationState, slot: int) -> None:
    """Take a finished job off its owner's list, and make its place free."""
    job = w.jobs[slot]
    if job.older != NOBODY:
        w.jobs[job.older].newer = job.newer
    if job.newer != NOBODY:
        w.jobs[job.newer].older = job.older
    elif job.owner >= 0:
        w.tails[job.owner] = job.older
    job.number = NOBODY
    job.sibling = w.now[_FREE_JOB]
    w.now[_FREE_JOB] = slot


def enter(w: SimulationState, now_us: int, slot: int) -> None:
    """Start a job on an idle node, or let it wait and see whether a running one gives way."""
    if not start_on_idle(w, now_us, slot):
        wait(w, slot)
        ask_to_yield(w, now_us, slot)


def start_on_idle(w: SimulationState, now_us: int, slot: int) -> bool:
    """Start a job on the idle node that would finish it first, if there is one."""
    number = _idle_node(w, slot)
    if number >= 0:
        start(w, now_us, number, slot)
    return number >= 0


def wait(w: SimulationState, slot: int) -> None:
    """Put a job into its queue."""
    queue = w.streams[w.jobs[slot].stream].queue
    w.heads[queue] = queues.pushed(w.jobs, w.heads[queue], slot)
    w.jobs[slot].is_waiting = 1
    w.watched[_WAITING] += 1


def ask_to_yield(w: SimulationState, now_us: int, slot: int) -> None:
    """Let the policy name a running job that gives way, and tell its node."""
    if not w.rules[_PREEMPTS]:
        return
    job = w.jobs[slot]
    about = w.streams[job.stream]
    left_us = job.work_us - job.kept_us
    estimate_s = work_time.estimate_left_s(job.estimate_s, left_us, job.work_us)
    victim = NOBODY
    for kind in range(len(w.kinds)):
        if not w.fits[kind, about.queue]:
            continue
        for model in range(w.roots.shape[1]):
            is_warm = model == about.model
            found = _victim(w, now_us, kind, model, job.rank, estimate_s, is_warm)
            victim = tree.larger(w.tree, victim, found)
    if victim != NOBODY:
        _yield(w, now_us, victim)


def _victim(
    w: SimulationState,
    now_us: int,
    kind: int,
    model: int,
    rank: float,
    estimate_s: float,
    is_warm: bool,
) -> int:
    """Return who gives way of those with one model on one kind, the largest rank, or nobody.

    `is_worthwhile` grows with the rank of the running job and with what is left of it: at infinity of the
    one it is a condition on the other. First all that finish late enough, of these the largest.
    """
    load_s = w.kinds[kind].load_s
    save_s = (w.rules[_SAVE] + w.rules[_RESUME]) / US
    found, place = NOBODY, w.roots[kind, model]
    if place == NOBODY:
        return NOBODY
    largest = w.tree[w.tree[place].best].rank
    if not is_worthwhile(largest, math.inf, save_s, load_s, rank, estimate_s, is_warm):
        return NOBODY
    while place >= 0:
        remaining_s = (w.tree[place].finish_us - now_us) / US
        if is_worthwhile(math.inf, remaining_s, save_s, load_s, rank, estimate_s, is_warm):
            found = tree.larger(w.tree, found, tree.best_after(w.tree, place))
            place = w.tree[place].left
        else:
            place = w.tree[place].right
    if found == NOBODY:
        return NOBODY
    largest = w.tree[found].rank
    is_paid = is_worthwhile(largest, math.inf, save_s, load_s, rank, estimate_s, is_warm)
    return found if is_paid else NOBODY


def _yield(w: SimulationState, now_us: int, number: int) -> None:
    """Tell a node to save its job's state and to give it back; nothing new is saved at once."""
    node = w.nodes[number]
    unlist_running(w, number)
    node.phase = PREEMPTED
    node.epoch += 1
    node.yield_us = now_us
    compute_us = node.begin_us + node.load_us + node.resume_us
    checkpoint_us = w.rules[_SAVE] if now_us > compute_us else 0
    accounts.note(w, now_us, _YIELD, number, w.jobs[node.job].number)
    put(w, now_us + checkpoint_us, _SAVED, number, node.epoch)


def _idle_node(w: SimulationState, slot: int) -> int:
    """Return the idle node that would finish the job first; of equals the last to be idle."""
    job = w.jobs[slot]
    about = w.streams[job.stream]
    best_us, best = FOREVER_US, NOBODY
    for kind in range(len(w.kinds)):
        if not w.fits[kind, about.queue]:
            continue
        number = _last_idle(w, kind, about.model)
        if number == NOBODY:
            continue
        us = work_time.worker_us(job.work_us - job.kept_us, w.time_factor[kind, job.stream])
        if w.nodes[number].warm != about.model + 1:
            us += w.kinds[kind].load_us
        if us < best_us:
            best_us, best = us, number
    return best


def _last_idle(w: SimulationState, kind: int, model: int) -> int:
    """Return the last idle node with the model in its memory, else with nothing, else any."""
    if w.idle[kind, model + 1] != NOBODY:
        return int(w.idle[kind, model + 1])
    for warm in range(w.idle.shape[1]):
        if w.idle[kind, warm] != NOBODY:
            return int(w.idle[kind, warm])
    return NOBODY


def list_idle(w: SimulationState, number: int) -> None:
    """Put a node in front of the idle ones of its kind and model."""
    node = w.nodes[number]
    older = w.idle[node.kind, node.warm]
    node.older, node.newer = older, NOBODY
    if older != NOBODY:
        w.nodes[older].newer = number
    w.idle[node.kind, node.warm] = number
    node.is_listed = 1


def unlist_idle(w: SimulationState, number: int) -> None:
    """Take a node from the idle ones, if it is among them."""
    node = w.nodes[number]
    if not node.is_listed:
        return
    if node.older != NOBODY:
        w.nodes[node.older].newer = node.newer
    if node.newer != NOBODY:
        w.nodes[node.newer].older = node.older
    else:
        w.idle[node.kind, node.warm] = node.older
    node.is_listed = 0


def _choose(w: SimulationState, number: int) -> int:
    """Return the job that a free node takes, off its queue, or nobody: `policy.choose` of heads."""
    node = w.nodes[number]
    load_s = w.kinds[node.kind].load_s
    best_rank, best = math.inf, NOBODY
    for queue in range(len(w.heads)):
        head = w.heads[queue]
        if head == NOBODY or not w.fits[node.kind, queue]:
            continue
        rank = rank_on_worker(w.jobs[head].rank, load_s, node.warm == w.queue_model[queue] + 1)
        is_equal = rank == best_rank and best != NOBODY
        if (
            best == NOBODY
            or rank < best_rank
            or (is_equal and queues.is_before(w.jobs, head, best))
        ):
            best_rank, best = rank, head
    if best != NOBODY:
        queue = w.streams[w.jobs[best].stream].queue
        w.heads[queue] = queues.popped(w.jobs, best)
        w.jobs[best].is_waiting = 0
        w.watched[_WAITING] -= 1
    return best


def free(w: SimulationState, now_us: int, number: int) -> None:
    """Let a node that is ready and without a job take one, or stand idle."""
    node = w.nodes[number]
    node.phase, node.since_us = IDLE, now_us
    if node.is_draining:
        return
    slot = _choose(w, number)
    if slot == NOBODY:
        list_idle(w, number)
    else:
        start(w, now_us, number, slot)


def start(w: SimulationState, now_us: int, number: int, slot: int) -> None:
    """Put a job on a node."""
    node, job = w.nodes[number], w.jobs[slot]
    unlist_idle(w, number)
    accounts.end_phase(w, number, now_us)
    warm = w.streams[job.stream].model + 1
    node.job, node.begin_us, node.yield_us = slot, now_us, -1
    node.load_us = 0 if node.warm == warm else w.kinds[node.kind].load_us
    node.resume_us = w.rules[_RESUME] if job.kept_us > 0 else 0
    node.work_us = job.work_us - job.kept_us
    node.total_us = work_time.worker_us(node.work_us, w.time_factor[node.kind, job.stream])
    node.every_us = w.pools[node.pool].every_us if w.rules[_KEEPS] else 0
    stay_us = work_time.with_saves_us(node.total_us, node.every_us, w.rules[_SAVE])
    node.finish_us = now_us + node.load_us + node.resume_us + stay_us
    node.phase, node.warm = BUSY, warm
    node.epoch += 1
    w.watched[_BUSY] += 1
    if w.wait_us[job.number] < 0:
        w.wait_us[job.number] = now_us - job.arrived_us
    accounts.note(w, now_us, _START, number, job.number)
    put(w, node.finish_us, _FINISH, number, node.epoch)
    _list_running(w, number)


def _list_running(w: SimulationState, number: int) -> None:
    if not w.rules[_PREEMPTS]:
        return
    node, entry = w.nodes[number], w.tree[number]
    entry.finish_us = node.finish_us
    entry.rank = w.jobs[node.job].rank
    entry.job = w.jobs[node.job].number
    tree.insert(w.tree, w.roots, node.kind, node.warm - 1, number, w.path)


def unlist_running(w: SimulationState, number: int) -> None:
    """Take a node from those that may be told to give way, if it is among them."""
    node = w.nodes[number]
    if w.rules[_PREEMPTS] and node.phase == BUSY and not node.is_draining:
        tree.remove(w.tree, w.roots, node.kind, node.warm - 1, number, w.path)


COMPILED = (
    put, arrive, _turn, leave, enter, start_on_idle, wait, ask_to_yield, _victim, _yield,
    _idle_node, _last_idle, list_idle, unlist_idle, _choose, free, start, _list_running,
    unlist_running,
)  # fmt: skip
