"""Waiting times in a queue with many equal servers (M/G/c), and the servers that a promise takes.

Jobs arrive at random (Poisson) and are served first come, first served. All functions take numbers
or arrays, and keep about ten digits up to millions of servers. Lost nodes, priorities and demand
that changes within the hour need `simulation`.

`num_servers` is c, `rate_per_s` the arrivals a second, `mean_s` the mean time of a job on a
server, `cv2` the squared coefficient of variation of that time: 0 for equal jobs, 1 for
exponential ones. `load` is their product in servers: rate_per_s * mean_s, below c.
"""

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from reelgrid.errors import RequestError

Numbers: TypeAlias = float | NDArray[np.float64]

MAX_LOAD = 1e12
"""Servers at work; floating point counts single servers up to 2**53."""

_STIRLING_UNTIL = 16.0
_MAX_GAMMA = 0.24


def erlang_b(num_servers: Numbers, load: Numbers) -> Numbers:
    """Return the share of jobs that find all servers busy where no job waits (M/G/c/c).

    B = pmf / cdf of a Poisson number of mean `load`, at c (Erlang 1917). The cdf is the regularised
    incomplete gamma function Q(c + 1, load); the pmf is in Loader's form, "Fast and accurate
    computation of binomial probabilities" (2000), which loses no digits at a million servers.
    """
    from scipy.special import gammaincc

    share: Numbers = _poisson_pmf(num_servers, load) / gammaincc(np.add(num_servers, 1.0), load)
    return share


def erlang_c(num_servers: Numbers, load: Numbers) -> Numbers:
    """Return the share of jobs that wait at all, in M/M/c (Erlang 1917); 1 where load >= c."""
    blocked = erlang_b(num_servers, load)
    spare = np.subtract(num_servers, load)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        waiting = num_servers * blocked / (spare + load * blocked)
    return _number(np.where(spare > 0, waiting, 1.0))


def mgc_mean_wait_s(
    num_servers: Numbers, rate_per_s: Numbers, mean_s: Numbers, cv2: Numbers
) -> Numbers:
    """Return approximately the mean wait in M/G/c; infinite where the queue grows.

    For cv2 up to 1 the interpolation of Kimura 1986, "A two-moment approximation for the mean
    waiting time in the GI/G/s queue", between M/D/c and M/M/c:
    (1 + cv2) / (2 cv2 / W(M/M/c) + (1 - cv2) / W(M/D/c)); beyond, where it does not hold, Lee and
    Longton 1959 (Allen and Cunneen's with random arrivals): (1 + cv2) / 2 * W(M/M/c). Exact for
    one server, for exponential jobs, and as the servers fill up.

    W(M/M/c) = C / (c/S - rate), C from `erlang_c`. W(M/D/c) is half of that times 1 + gamma
    (Cosmetatos 1976, "Some approximate equilibrium results for the multi-server queue (M/G/r)"),
    gamma capped at 0.24 as in Whitt 1993, "Approximations for the GI/G/m queue", equation 2.17.
    """
    return _number(_waits(num_servers, rate_per_s, mean_s, cv2)[1])


def mgc_wait_exceeds(
    wait_s: Numbers, num_servers: Numbers, rate_per_s: Numbers, mean_s: Numbers, cv2: Numbers
) -> Numbers:
    """Return approximately the share of jobs that wait longer than `wait_s`, in M/G/c.

    Erlang's C wait at all, whatever the sizes (Whitt 1993, section 4, "nearly insensitive"), and
    those wait an exponential time whose mean makes `mgc_mean_wait_s` come out.
    """
    waiting, mean_wait_s = _waits(num_servers, rate_per_s, mean_s, cv2)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        exceeding = waiting * np.exp(-np.multiply(wait_s, waiting) / mean_wait_s)
    exceeding = np.where(np.isinf(mean_wait_s), 1.0, exceeding)
    return _number(np.where(np.equal(mean_wait_s, 0.0), 0.0, exceeding))


def servers_for_promise(
    rate_per_s: Numbers, mean_s: Numbers, cv2: Numbers, *, promise_s: float, share: float
) -> Numbers:
    """Return the fewest servers with which `share` of the jobs wait at most `promise_s`.

    Found by bisection over `mgc_wait_exceeds`, which falls with every server more.

    Raises:
        RequestError: The load is above 10**12 servers.

    Args:
        rate_per_s: Arrivals a second, above 0.
        mean_s: Mean time of a job.
        cv2: Squared coefficient of variation of that time.
        promise_s: At least 0.
        share: Above 0, below 1.
    """
    rate, mean, squares = np.broadcast_arrays(
        *(np.asarray(each, dtype=np.float64) for each in (rate_per_s, mean_s, cv2))
    )
    load = rate * mean
    if not np.all(load <= MAX_LOAD):
        raise RequestError(
            f"the clips need {np.max(load):.3g} servers at work: queueing counts to {MAX_LOAD:.0e}"
        )

    def is_kept(servers: NDArray[np.float64]) -> NDArray[np.bool_]:
        late = mgc_wait_exceeds(promise_s, servers, rate, mean, squares)
        return np.asarray(late) <= 1 - share

    low = np.floor(load)  # never enough: the queue grows
    high = low + 1
    while not np.all(kept := is_kept(high)):
        high = np.where(kept, high, low + 2 * (high - low))
    while np.any(high - low > 1):
        middle = np.floor((low + high) / 2)
        kept = is_kept(np.maximum(middle, np.floor(load) + 1))
        high = np.where(kept & (high - low > 1), middle, high)
        low = np.where(~kept & (high - low > 1), middle, low)
    return _number(high)


def _waits(
    num_servers: Numbers, rate_per_s: Numbers, mean_s: Numbers, cv2: Numbers
) -> tuple[Numbers, NDArray[np.float64]]:
    """Return the share of jobs that wait, and the mean wait of all."""
    waiting = erlang_c(num_servers, np.multiply(rate_per_s, mean_s))
    exponential_s = _mmc_mean_wait_s(waiting, num_servers, rate_per_s, mean_s)
    equal_s = _equal_jobs_share(num_servers, rate_per_s, mean_s) * exponential_s
    cv2 = np.asarray(cv2, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        between_s = (1 + cv2) / (2 * cv2 / exponential_s + (1 - cv2) / equal_s)
    beyond_s = (1 + cv2) / 2 * exponential_s
    wait_s = np.where(cv2 < 1, between_s, beyond_s)
    return waiting, np.where(exponential_s == 0, 0.0, wait_s)


def _mmc_mean_wait_s(
    waiting: Numbers, num_servers: Numbers, rate_per_s: Numbers, mean_s: Numbers
) -> NDArray[np.float64]:
    spare = np.subtract(num_servers, np.multiply(rate_per_s, mean_s))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        wait_s = waiting * np.asarray(mean_s) / spare
    return np.where(spare > 0, wait_s, np.inf)


def _equal_jobs_share(
    num_servers: Numbers, rate_per_s: Numbers, mean_s: Numbers
) -> NDArray[np.float64]:
    """Return the mean wait of equal jobs over that of exponential ones."""
    servers = np.asarray(num_servers, dtype=np.float64)
    rho = np.multiply(rate_per_s, mean_s) / servers
    gamma = (1 - rho) * (servers - 1) * (np.sqrt(4 + 5 * servers) - 2) / (16 * rho * servers)
    return np.asarray((1 + np.clip(gamma, 0, _MAX_GAMMA)) / 2)


def _poisson_pmf(count: Numbers, mean: Numbers) -> Numbers:
    """Return exp(-mean) mean**count / count!, without the loss of digits of its logarithm."""
    deviance = _deviance(np.asarray(count, dtype=np.float64), np.asarray(mean, dtype=np.float64))
    pmf: Numbers = np.exp(-_stirling_error(count) - deviance) / np.sqrt(
        2 * math.pi * np.asarray(count)
    )
    return pmf


def _deviance(count: NDArray[np.float64], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return count ln(count / mean) + mean - count (Loader 2000, bd0)."""
    excess = (mean - count) / count
    # count * (excess - log1p(excess)), by its series where the two cancel
    series = np.zeros_like(excess)
    for power in range(14, 1, -1):
        series = series * -excess + 1 / power
    with np.errstate(divide="ignore"):  # no load at all: the pmf is 0
        direct = excess - np.log1p(excess)
    return count * np.where(np.abs(excess) < 0.02, excess * excess * series, direct)


def _stirling_error(count: Numbers) -> NDArray[np.float64]:
    """Return ln(n!) - ln(sqrt(2 pi n) (n/e)**n), by Stirling's series or from the left side."""
    from scipy.special import gammaln

    n = np.asarray(count, dtype=np.float64)
    inverse2 = 1 / (n * n)
    series = (1 / 12 - inverse2 * (1 / 360 - inverse2 * (1 / 1260 - inverse2 * (1 / 1680)))) / n
    direct = gammaln(n + 1) - (n + 0.5) * np.log(n) + n - 0.5 * math.log(2 * math.pi)
    return np.where(n < _STIRLING_UNTIL, direct, series)


def _number(values: NDArray[np.float64] | np.float64 | float) -> Numbers:
    """Return a float where the array has no dimensions."""
    array = np.asarray(values, dtype=np.float64)
    return float(array) if array.ndim == 0 else array
