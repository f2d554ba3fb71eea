"""The compiled engine's calendar: a heap with four children a node, ordered by time and order.

Plain functions of an array of `records.ENTRY`; compiled by `compiled`.
"""

from typing import Any

_ORDER_BITS = 48


def order_of(event: int, whom: int) -> int:
    """Return the number that decides between entries of one time."""
    return (event << _ORDER_BITS) | int(whom)


def event_of(order: int) -> int:
    """Return the event of an order."""
    return order >> _ORDER_BITS


def whom_of(order: int) -> int:
    """Return whom the event of an order is about."""
    return order & ((1 << _ORDER_BITS) - 1)


def push(calendar: Any, size: int, time_us: int, order: int, epoch: int) -> int:
    """Add an entry to a calendar of `size` entries; return the new size."""
    hole = size
    while hole > 0:
        above = (hole - 1) >> 2
        entry = calendar[above]
        if entry.time_us < time_us or (entry.time_us == time_us and entry.order <= order):
            break
        _move(calendar, above, hole)
        hole = above
    _write(calendar, hole, time_us, order, epoch)
    return size + 1


def drop_first(calendar: Any, size: int) -> int:
    """Remove the first entry; return the new size."""
    size -= 1
    last = calendar[size]
    time_us, order, epoch = last.time_us, last.order, last.epoch
    hole = 0
    while True:
        least = _least_child(calendar, size, hole)
        if least < 0 or not _is_before(calendar[least], time_us, order):
            break
        _move(calendar, least, hole)
        hole = least
    _write(calendar, hole, time_us, order, epoch)
    return size


def _least_child(calendar: Any, size: int, above: int) -> int:
    first = 4 * above + 1
    if first >= size:
        return -1
    least = first
    for child in range(first + 1, min(first + 4, size)):
        if _is_before(calendar[child], calendar[least].time_us, calendar[least].order):
            least = child
    return least


def _is_before(entry: Any, time_us: int, order: int) -> bool:
    return bool(entry.time_us < time_us or (entry.time_us == time_us and entry.order < order))


def _move(calendar: Any, source: int, target: int) -> None:
    _write(
        calendar, target, calendar[source].time_us, calendar[source].order, calendar[source].epoch
    )


def _write(calendar: Any, place: int, time_us: int, order: int, epoch: int) -> None:
    entry = calendar[place]
    entry.time_us = time_us
    entry.order = order
    entry.epoch = epoch


COMPILED = (
    order_of, event_of, whom_of, push, drop_first, _least_child, _is_before, _move, _write,
)  # fmt: skip
