"""The compiled engine's queues: pairing heaps of waiting jobs, smallest (rank, number) first.

Fredman, Sedgewick, Sleator and Tarjan, "The pairing heap", Algorithmica 1986. The links are in
`records.JOB`, so that a queue of millions needs no memory of its own; compiled by `compiled`.
"""

from typing import Any


def joined(jobs: Any, one: int, other: int) -> int:
    """Return the head of two queues made one; -1 is an empty one."""
    if one < 0:
        return other
    if other < 0:
        return one
    if is_before(jobs, other, one):
        one, other = other, one
    jobs[other].sibling = jobs[one].child
    jobs[one].child = other
    return one


def pushed(jobs: Any, head: int, job: int) -> int:
    """Return the head of a queue to which a job has been added."""
    jobs[job].child = -1
    jobs[job].sibling = -1
    return joined(jobs, head, job)


def popped(jobs: Any, head: int) -> int:
    """Return the new head of a queue whose head has been taken: its children in pairs, then all."""
    pairs = -1
    child = jobs[head].child
    while child >= 0:
        partner = jobs[child].sibling
        following = jobs[partner].sibling if partner >= 0 else -1
        jobs[child].sibling = -1
        if partner >= 0:
            jobs[partner].sibling = -1
        pair = joined(jobs, child, partner)
        jobs[pair].sibling = pairs
        pairs = pair
        child = following
    return _all_joined(jobs, pairs)


def _all_joined(jobs: Any, pairs: int) -> int:
    head = -1
    while pairs >= 0:
        following = jobs[pairs].sibling
        jobs[pairs].sibling = -1
        head = joined(jobs, head, pairs)
        pairs = following
    return head


def is_before(jobs: Any, one: int, other: int) -> bool:
    """Return whether a job goes before another."""
    first, second = jobs[one], jobs[other]
    return bool(
        first.rank < second.rank or (first.rank == second.rank and first.number < second.number)
    )


COMPILED = (joined, pushed, popped, _all_joined, is_before)
