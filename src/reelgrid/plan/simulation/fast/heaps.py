"""Data structures of the fast engine: an event heap, pairing heaps of jobs, treaps of running jobs.

Plain functions of the arrays of `arrays`, linked by index, -1 for none; numba compiles them.

- Event heap: a heap of arity 4, ordered by (time, key).
- Job heaps: one pairing heap per queue, smallest (rank, number) first (Fredman, Sedgewick, Sleator
  and Tarjan, "The pairing heap", Algorithmica 1986). The links are fields of `arrays.JOB`, so that
  a queue of millions needs no memory of its own.
- Treaps (Aragon and Seidel 1989) of running jobs by time of completion, each node with the largest
  rank of its subtree: "the largest rank of the jobs that finish after a given time" takes one walk
  from the root. `policy.choose_victim` asks this of all running jobs.
"""

from typing import Any

_SUBJECT_BITS = 48


def key_of(event: int, subject: int) -> int:
    """Return the number that orders events of one time: by type, then by subject."""
    return (event << _SUBJECT_BITS) | int(subject)


def event_of(key: int) -> int:
    """Return the event type in a key."""
    return key >> _SUBJECT_BITS


def subject_of(key: int) -> int:
    """Return the subject in a key: the number of a node, a job or an arrival."""
    return key & ((1 << _SUBJECT_BITS) - 1)


def push_event(heap: Any, size: int, time_us: int, key: int, epoch: int) -> int:
    """Add an event to a heap of `size` events and return the new size."""
    hole = size
    while hole > 0:
        parent = (hole - 1) >> 2
        entry = heap[parent]
        if entry.time_us < time_us or (entry.time_us == time_us and entry.key <= key):
            break
        _move_event(heap, parent, hole)
        hole = parent
    _write_event(heap, hole, time_us, key, epoch)
    return size + 1


def pop_event(heap: Any, size: int) -> int:
    """Remove the first event and return the new size."""
    size -= 1
    last = heap[size]
    time_us, key, epoch = last.time_us, last.key, last.epoch
    hole = 0
    while True:
        earliest = _earliest_child(heap, size, hole)
        if earliest < 0 or not _is_due_before(heap[earliest], time_us, key):
            break
        _move_event(heap, earliest, hole)
        hole = earliest
    _write_event(heap, hole, time_us, key, epoch)
    return size


def _earliest_child(heap: Any, size: int, parent: int) -> int:
    first = 4 * parent + 1
    if first >= size:
        return -1
    earliest = first
    for child in range(first + 1, min(first + 4, size)):
        if _is_due_before(heap[child], heap[earliest].time_us, heap[earliest].key):
            earliest = child
    return earliest


def _is_due_before(entry: Any, time_us: int, key: int) -> bool:
    return bool(entry.time_us < time_us or (entry.time_us == time_us and entry.key < key))


def _move_event(heap: Any, source: int, target: int) -> None:
    _write_event(heap, target, heap[source].time_us, heap[source].key, heap[source].epoch)


def _write_event(heap: Any, index: int, time_us: int, key: int, epoch: int) -> None:
    entry = heap[index]
    entry.time_us = time_us
    entry.key = key
    entry.epoch = epoch


def meld_jobs(jobs: Any, one: int, other: int) -> int:
    """Return the root of two heaps melded into one; -1 is an empty heap."""
    if one < 0:
        return other
    if other < 0:
        return one
    if is_job_before(jobs, other, one):
        one, other = other, one
    jobs[other].sibling = jobs[one].child
    jobs[one].child = other
    return one


def insert_job(jobs: Any, root: int, job: int) -> int:
    """Add a job to a heap and return the root."""
    jobs[job].child = -1
    jobs[job].sibling = -1
    return meld_jobs(jobs, root, job)


def pop_job(jobs: Any, root: int) -> int:
    """Remove the root and return the new one: meld its children in pairs, then the pairs."""
    pairs = -1
    child = jobs[root].child
    while child >= 0:
        partner = jobs[child].sibling
        following = jobs[partner].sibling if partner >= 0 else -1
        jobs[child].sibling = -1
        if partner >= 0:
            jobs[partner].sibling = -1
        pair = meld_jobs(jobs, child, partner)
        jobs[pair].sibling = pairs
        pairs = pair
        child = following
    return _meld_pairs(jobs, pairs)


def _meld_pairs(jobs: Any, pairs: int) -> int:
    root = -1
    while pairs >= 0:
        following = jobs[pairs].sibling
        jobs[pairs].sibling = -1
        root = meld_jobs(jobs, root, pairs)
        pairs = following
    return root


def is_job_before(jobs: Any, one: int, other: int) -> bool:
    """Return whether a job comes before another: smaller rank, then smaller number."""
    first, second = jobs[one], jobs[other]
    return bool(
        first.rank < second.rank or (first.rank == second.rank and first.number < second.number)
    )


def treap_insert(treap: Any, roots: Any, kind: int, model: int, node: int, path: Any) -> None:
    """Insert a node with `finish_us`, `rank` and `job` set into the treap of its kind and model."""
    entry = treap[node]
    entry.priority = _treap_priority(node)
    parent, is_left, top = -1, False, roots[kind, model]
    while top >= 0 and treap[top].priority >= entry.priority:
        if _is_larger(treap, node, treap[top].best):
            treap[top].best = node
        parent, is_left = top, _is_earlier(treap, node, top)
        top = treap[top].left if is_left else treap[top].right
    _treap_split(treap, top, node, path)
    _treap_update(treap, node)
    _treap_link(treap, roots, kind, model, parent, is_left, node)


def _treap_priority(node: int) -> int:
    """Return a pseudo-random priority: the finalizer of MurmurHash3 (Appleby)."""
    mixed = (node + 1) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 13)) * 0x62B2AE35) & 0xFFFFFFFF
    return (mixed ^ (mixed >> 16)) & 0x7FFFFFFF


def treap_remove(treap: Any, roots: Any, kind: int, model: int, node: int, path: Any) -> None:
    """Remove a node from the treap of its kind and model."""
    depth, parent, is_left, top = 0, -1, False, roots[kind, model]
    while top != node:
        path[depth] = top
        depth += 1
        parent, is_left = top, _is_earlier(treap, node, top)
        top = treap[top].left if is_left else treap[top].right
    left, right = treap[node].left, treap[node].right
    while left >= 0 and right >= 0:
        is_left_above = treap[left].priority >= treap[right].priority
        above = left if is_left_above else right
        _treap_link(treap, roots, kind, model, parent, is_left, above)
        path[depth] = above
        depth += 1
        parent, is_left = above, not is_left_above
        if is_left_above:
            left = treap[above].right
        else:
            right = treap[above].left
    _treap_link(treap, roots, kind, model, parent, is_left, left if left >= 0 else right)
    for step in range(depth - 1, -1, -1):
        _treap_update(treap, path[step])


def _treap_split(treap: Any, top: int, node: int, path: Any) -> None:
    """Split a subtree at `node`: what finishes before it becomes its left child, the rest its right."""
    treap[node].left = treap[node].right = -1
    last_left, last_right, depth = -1, -1, 0
    while top >= 0:
        path[depth] = top
        depth += 1
        if _is_earlier(treap, top, node):
            if last_left < 0:
                treap[node].left = top
            else:
                treap[last_left].right = top
            last_left, top = top, treap[top].right
        else:
            if last_right < 0:
                treap[node].right = top
            else:
                treap[last_right].left = top
            last_right, top = top, treap[top].left
    if last_left >= 0:
        treap[last_left].right = -1
    if last_right >= 0:
        treap[last_right].left = -1
    for step in range(depth - 1, -1, -1):
        _treap_update(treap, path[step])


def _treap_link(
    treap: Any, roots: Any, kind: int, model: int, parent: int, is_left: bool, node: int
) -> None:
    if parent < 0:
        roots[kind, model] = node
    elif is_left:
        treap[parent].left = node
    else:
        treap[parent].right = node


def _treap_update(treap: Any, node: int) -> None:
    treap[node].best = treap_larger(
        treap,
        node,
        treap_larger(
            treap, _treap_best(treap, treap[node].left), _treap_best(treap, treap[node].right)
        ),
    )


def _treap_best(treap: Any, node: int) -> int:
    return int(treap[node].best) if node >= 0 else -1


def treap_larger(treap: Any, one: int, other: int) -> int:
    """Return the one of larger rank, then of larger job number; -1 is none."""
    if one < 0:
        return other
    if other < 0:
        return one
    return one if _is_larger(treap, one, other) else other


def treap_best_after(treap: Any, top: int) -> int:
    """Return the largest rank among a node and the part of its subtree that finishes later."""
    return treap_larger(treap, top, _treap_best(treap, treap[top].right))


def _is_larger(treap: Any, one: int, other: int) -> bool:
    first, second = treap[one], treap[other]
    return bool(first.rank > second.rank or (first.rank == second.rank and first.job > second.job))


def _is_earlier(treap: Any, one: int, other: int) -> bool:
    first, second = treap[one], treap[other]
    return bool(
        first.finish_us < second.finish_us or (first.finish_us == second.finish_us and one < other)
    )


COMPILED = (
    key_of, event_of, subject_of, push_event, pop_event, _earliest_child, _is_due_before,
    _move_event, _write_event, meld_jobs, insert_job, pop_job, _meld_pairs, is_job_before,
    treap_insert, _treap_priority, treap_remove, _treap_split, _treap_link, _treap_update,
    _treap_best, treap_larger, treap_best_after, _is_larger, _is_earlier,
)  # fmt: skip
