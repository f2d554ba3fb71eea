"""Closed forms of queueing and renewal theory, for the tests only."""

import math


def erlang_c(num_servers, load):
    """Probability that a job of M/M/c waits; `load` in servers (Erlang 1917)."""
    blocked = 1.0
    for servers in range(1, num_servers + 1):
        blocked = load * blocked / (servers + load * blocked)
    return blocked / (1 - load / num_servers * (1 - blocked))


def mmc_mean_wait_s(num_servers, share, mean_s):
    waits = erlang_c(num_servers, num_servers * share)
    return waits * mean_s / (num_servers * (1 - share))


def mmc_wait_quantile_s(num_servers, share, mean_s, quantile):
    waits = erlang_c(num_servers, num_servers * share)
    if waits <= 1 - quantile:
        return 0.0
    return math.log(waits / (1 - quantile)) * mean_s / (num_servers * (1 - share))


def mg1_mean_wait_s(share, mean_s, cv2):
    """Pollaczek and Khinchine; M/D/1 with cv2 = 0."""
    return share * mean_s * (1 + cv2) / (2 * (1 - share))


def useful_share_with_checkpoints(hazard_per_s, every_s, checkpoint_s):
    """A node that always has work: Daly 2006, equation 13, with no time to restart.

    An interval of work and its checkpoint take (exp(hazard x length) - 1) / hazard on average.
    """
    return every_s * hazard_per_s / math.expm1(hazard_per_s * (every_s + checkpoint_s))
