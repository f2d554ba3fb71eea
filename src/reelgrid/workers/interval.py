"""How long to work between two saves: as often as is wished, less often where saves are dear."""

import math

CHEAP_SHARE = 0.01
"""A save that stops the steps for less than this share of the wished interval is free enough."""

MOST_SHARE = 0.1
"""Saves of a job that loses its workers stop the steps for no more than this share of the time."""
MAX_HALVINGS = 4


def save_interval_s(
    wished_s: float, cost_s: float, between_failures_s: float, *, losses: int = 0
) -> float:
    """Return the seconds of work from one save to the next.

    Half as long for every worker that the job has lost lately: its failures come faster than the
    mean says. Even then saves take no more than a tenth of the time.

    Args:
        wished_s: What was asked for; 0 is after every step, whatever it costs.
        cost_s: Seconds that a save stops the work, as measured.
        between_failures_s: Mean time between two failures of a worker.
        losses: Workers that the job has lost without getting further.
    """
    if wished_s == 0:
        return 0.0
    is_cheap = cost_s <= CHEAP_SHARE * wished_s
    calm_s = wished_s if is_cheap else max(wished_s, daly_interval_s(cost_s, between_failures_s))
    least_s = min(calm_s, cost_s / MOST_SHARE)
    return max(math.ldexp(calm_s, -min(losses, MAX_HALVINGS)), least_s)


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
