"""The compiled engine's running jobs, by when they finish; each subtree knows its largest rank.

A treap (Aragon and Seidel, 1989): "the largest rank among those that finish after a given time"
takes a walk from the root. It is what `policy.choose_victim` asks of all running jobs, without
looking at all of them. Nodes are those of the fleet; compiled by `compiled`.
"""

from typing import Any


def insert(tree: Any, roots: Any, kind: int, model: int, node: int, path: Any) -> None:
    """Add a node, whose `finish_us`, `rank` and `job` are set, to the tree of its kind and model."""
    entry = tree[node]
    entry.weight = _weight(node)
    parent, is_left, place = -1, False, roots[kind, model]
    while place >= 0 and tree[place].weight >= entry.weight:
        if _is_larger(tree, node, tree[place].best):
            tree[place].best = node
        parent, is_left = place, _is_earlier(tree, node, place)
        place = tree[place].left if is_left else tree[place].right
    _split(tree, place, node, path)
    _update(tree, node)
    _hang(tree, roots, kind, model, parent, is_left, node)


def _weight(node: int) -> int:
    """Return a fixed number that looks drawn; the finalizer of MurmurHash3 (Appleby)."""
    mixed = (node + 1) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
    mixed = ((mixed ^ (mixed >> 13)) * 0x62B2AE35) & 0xFFFFFFFF
    return (mixed ^ (mixed >> 16)) & 0x7FFFFFFF


def remove(tree: Any, roots: Any, kind: int, model: int, node: int, path: Any) -> None:
    """Take a node off its tree."""
    depth, parent, is_left, place = 0, -1, False, roots[kind, model]
    while place != node:
        path[depth] = place
        depth += 1
        parent, is_left = place, _is_earlier(tree, node, place)
        place = tree[place].left if is_left else tree[place].right
    left, right = tree[node].left, tree[node].right
    while left >= 0 and right >= 0:
        is_left_above = tree[left].weight >= tree[right].weight
        above = left if is_left_above else right
        _hang(tree, roots, kind, model, parent, is_left, above)
        path[depth] = above
        depth += 1
        parent, is_left = above, not is_left_above
        if is_left_above:
            left = tree[above].right
        else:
            right = tree[above].left
    _hang(tree, roots, kind, model, parent, is_left, left if left >= 0 else right)
    for step in range(depth - 1, -1, -1):
        _update(tree, path[step])


def _split(tree: Any, place: int, node: int, path: Any) -> None:
    """Hang the part of a subtree that finishes before `node` on its left, the rest on its right."""
    tree[node].left = tree[node].right = -1
    last_left, last_right, depth = -1, -1, 0
    while place >= 0:
        path[depth] = place
        depth += 1
        if _is_earlier(tree, place, node):
            if last_left < 0:
                tree[node].left = place
            else:
                tree[last_left].right = place
            last_left, place = place, tree[place].right
        else:
            if last_right < 0:
                tree[node].right = place
            else:
                tree[last_right].left = place
            last_right, place = place, tree[place].left
    if last_left >= 0:
        tree[last_left].right = -1
    if last_right >= 0:
        tree[last_right].left = -1
    for step in range(depth - 1, -1, -1):
        _update(tree, path[step])


def _hang(
    tree: Any, roots: Any, kind: int, model: int, parent: int, is_left: bool, node: int
) -> None:
    if parent < 0:
        roots[kind, model] = node
    elif is_left:
        tree[parent].left = node
    else:
        tree[parent].right = node


def _update(tree: Any, node: int) -> None:
    tree[node].best = larger(
        tree, node, larger(tree, _best(tree, tree[node].left), _best(tree, tree[node].right))
    )


def _best(tree: Any, node: int) -> int:
    return int(tree[node].best) if node >= 0 else -1


def larger(tree: Any, one: int, other: int) -> int:
    """Return the one of larger rank, of equals of the larger job; -1 is nobody."""
    if one < 0:
        return other
    if other < 0:
        return one
    return one if _is_larger(tree, one, other) else other


def best_after(tree: Any, place: int) -> int:
    """Return the largest of a node and of all that finish later below it."""
    return larger(tree, place, _best(tree, tree[place].right))


def _is_larger(tree: Any, one: int, other: int) -> bool:
    first, second = tree[one], tree[other]
    return bool(first.rank > second.rank or (first.rank == second.rank and first.job > second.job))


def _is_earlier(tree: Any, one: int, other: int) -> bool:
    first, second = tree[one], tree[other]
    return bool(
        first.finish_us < second.finish_us or (first.finish_us == second.finish_us and one < other)
    )


COMPILED = (
    insert, _weight, remove, _split, _hang, _update, _best, larger, best_after, _is_larger, _is_earlier,
)  # fmt: skip
