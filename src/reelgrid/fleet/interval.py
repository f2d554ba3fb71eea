"""How long to work between two saves: as often as is wished, less often where saves are dear."""

import math

CHEAP_SHARE = 0.01
"""A save that stops the steps for less than this share of the wished interval is free enough."""


def save_interval_s(wished_s: float, cost_s: float, between_failures_s: float) -> float:
    """Return the seconds of work from one save to the next.

    Args:
        wished_s: What was asked for; 0 is after every step, whatever it costs.
        cost_s: Seconds that a save stops the work, as measured.
        between_failures_s: Mean time between two failures of a worker.
    """
    if wished_s == 0 or cost_s <= CHEAP_SHARE * wished_s:
        return wished_s
    return max(wished_s, daly_interval_s(cost_s, between_failures_s))


def daly_interval_s(cost_s: float, between_failures_s: float) -> float:
    """Return the work between saves that loses the least time to saves and failures together.

    Daly, "A higher order estimate of the optimum checkpoint interval for restart dumps", Future
    Generation Computer Systems 22 (2006), eq. 37.
    """
    if cost_s >= 2 * between_failures_s:
        return between_failures_s
    ratio = cost_s / (2 * between_failures_s)
    return (
        math.sqrt(2 * cost_s * between_failures_s) * (1 + math.sqrt(ratio) / 3 + ratio / 9) - cost_s
    )
