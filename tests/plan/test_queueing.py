"""Queueing against exact sums, textbook tables and simulated queues."""

import heapq
import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammainc

from reelgrid.plan.demand.queueing import (
    erlang_b,
    erlang_c,
    mgc_mean_wait_s,
    mgc_wait_exceeds,
    servers_for_promise,
)
from tests.plan.simulation import oracles

LATE = 1 - 0.95


def wait_quantile_s(share, num_servers, rate_per_s, mean_s, cv2):
    """The wait that `share` of the jobs stay below: `mgc_wait_exceeds` solved for the wait."""
    waiting = erlang_c(num_servers, rate_per_s * mean_s)
    if waiting <= 1 - share:
        return 0.0
    mean_wait_s = mgc_mean_wait_s(num_servers, rate_per_s, mean_s, cv2)
    return mean_wait_s / waiting * math.log(waiting / (1 - share))


def exact_erlang_c(num_servers, load):
    """The recurrence of Erlang's B, in 40 digits."""
    with localcontext(prec=40):
        offered, blocked = Decimal(load), Decimal(1)
        for n in range(1, num_servers + 1):
            blocked = offered * blocked / (n + offered * blocked)
        return float(num_servers * blocked / (num_servers - offered * (1 - blocked)))


@pytest.mark.parametrize(
    ("num_servers", "load"),
    [(1, 0.5), (2, 1.5), (5, 4.99), (17, 3.0), (100, 95.0), (1_000, 990.0), (20_000, 19_900.0)],
)
def test_erlang_c_agrees_with_the_recurrence_in_40_digits(num_servers, load):
    assert erlang_c(num_servers, load) == pytest.approx(
        exact_erlang_c(num_servers, load), rel=1e-10
    )


def test_erlang_c_holds_at_a_million_servers():
    blocked, load = 1.0, 999_500.0
    for n in range(1, 1_000_001):
        blocked = load * blocked / (n + load * blocked)
    exact = 1e6 * blocked / (1e6 - load * (1 - blocked))
    assert erlang_c(1_000_000, load) == pytest.approx(exact, rel=1e-9)


def test_erlang_b_of_one_server_is_a_over_one_plus_a():
    assert erlang_b(1, 3.0) == pytest.approx(0.75, rel=1e-12)


def test_erlang_c_of_one_server_is_the_utilisation():
    assert erlang_c(1, 0.7) == pytest.approx(0.7, rel=1e-12)


def test_the_wait_of_m_m_1_is_the_textbooks():
    assert mgc_mean_wait_s(1, 0.8, 1.0, 1.0) == pytest.approx(0.8 / 0.2)
    quantile_s = math.log(0.8 / 0.05) / 0.2
    assert mgc_wait_exceeds(quantile_s, 1, 0.8, 1.0, 1.0) == pytest.approx(0.05)


def test_the_wait_of_m_m_2_is_the_square_of_rho_over_one_minus_that():
    assert mgc_mean_wait_s(2, 1.5, 1.0, 1.0) == pytest.approx(0.75**2 / (1 - 0.75**2))


@pytest.mark.parametrize("cv2", [0.0, 0.3, 1.0, 4.0])
def test_with_one_server_the_mean_is_that_of_pollaczek_and_khinchin(cv2):
    rate, mean_s = 0.7, 1.0
    exact = rate * mean_s**2 * (1 + cv2) / (2 * (1 - rate * mean_s))
    assert mgc_mean_wait_s(1, rate, mean_s, cv2) == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize("num_servers", [1, 3, 50, 10_000])
def test_with_exponential_jobs_it_is_m_m_c(num_servers):
    rate = 0.97 * num_servers
    assert mgc_mean_wait_s(num_servers, rate, 1.0, 1.0) == pytest.approx(
        oracles.mmc_mean_wait_s(num_servers, 0.97, 1.0), rel=1e-9
    )
    quantile_s = oracles.mmc_wait_quantile_s(num_servers, 0.97, 1.0, 0.5)
    assert mgc_wait_exceeds(quantile_s, num_servers, rate, 1.0, 1.0) == pytest.approx(
        min(0.5, erlang_c(num_servers, rate)), rel=1e-9
    )


def test_a_full_queue_waits_for_ever():
    assert mgc_mean_wait_s(2, 2.0, 1.0, 1.0) == math.inf
    assert mgc_mean_wait_s(2, 3.0, 1.0, 0.5) == math.inf
    assert mgc_wait_exceeds(100.0, 2, 3.0, 1.0, 0.5) == 1.0
    assert mgc_mean_wait_s(1, 1.0, 1.0, 0.0) == math.inf


def test_no_load_waits_not_at_all():
    assert mgc_wait_exceeds(0.0, 100, 1.0, 1.0, 0.0) < 1e-50
    assert mgc_mean_wait_s(10_000, 1.0, 1.0, 0.0) == 0.0


def crommelin_mean_wait(num_servers, rho, num_terms=4_000):
    """Mean wait of M/D/c with jobs of 1 s (Crommelin 1932): sums of tails of Poisson numbers."""
    i = np.arange(1, num_terms)
    at_least = gammainc(i * num_servers, i * num_servers * rho)
    beyond = gammainc(i * num_servers + 1, i * num_servers * rho)
    return float(np.sum(at_least - beyond / rho))


@pytest.mark.parametrize(
    ("num_servers", "rho", "tolerance"),
    [(1, 0.8, 1e-6), (2, 0.8, 0.01), (5, 0.8, 0.01), (10, 0.9, 0.01), (30, 0.9, 0.02)],
)
def test_equal_jobs_wait_as_in_crommelins_sums(num_servers, rho, tolerance):
    exact = crommelin_mean_wait(num_servers, rho)
    assert mgc_mean_wait_s(num_servers, rho * num_servers, 1.0, 0.0) == pytest.approx(
        exact, rel=tolerance
    )


def simulated_waits(num_servers, rate_per_s, sizes, rng):
    """Waits of a first-come queue, one after the other (Kiefer and Wolfowitz 1955)."""
    free = [0.0] * num_servers
    now, waits = 0.0, []
    for gap, size in zip(rng.exponential(1 / rate_per_s, len(sizes)), sizes, strict=True):
        now += gap
        begin = max(now, heapq.heappop(free))
        heapq.heappush(free, begin + size)
        waits.append(begin - now)
    return np.array(waits[len(waits) // 10 :])


def sizes_of(cv2, num_jobs, rng):
    """Job sizes of mean 1 and that squared coefficient of variation, from gamma or two kinds."""
    if cv2 == 0:
        return np.ones(num_jobs)
    return rng.gamma(1 / cv2, cv2, num_jobs)


@pytest.mark.parametrize("cv2", [0.0, 0.25, 2.0])
@pytest.mark.parametrize(("num_servers", "rho"), [(4, 0.85), (40, 0.95)])
def test_waits_agree_with_a_simulated_queue(num_servers, rho, cv2):
    rng = np.random.default_rng(20261123)
    rate = rho * num_servers
    waits = simulated_waits(num_servers, rate, sizes_of(cv2, 250_000, rng), rng)
    assert mgc_mean_wait_s(num_servers, rate, 1.0, cv2) == pytest.approx(waits.mean(), rel=0.12)
    quantile = wait_quantile_s(0.95, num_servers, rate, 1.0, cv2)
    assert quantile == pytest.approx(np.quantile(waits, 0.95), rel=0.12)


def test_jobs_of_two_unlike_sizes_get_the_servers_that_they_need():
    """Previews of 1 s and final takes of 12 s in one queue: the promise holds, and barely."""
    rng = np.random.default_rng(7)
    rate, share_of_long = 3.0, 0.2
    sizes = np.where(rng.random(250_000) < share_of_long, 12.0, 1.0)
    mean_s = 0.8 * 1 + 0.2 * 12
    cv2 = (0.8 * 1 + 0.2 * 144) / mean_s**2 - 1
    needed = int(servers_for_promise(rate, mean_s, cv2, promise_s=2.0, share=0.95))
    kept = (simulated_waits(needed, rate, sizes, rng) <= 2.0).mean()
    short = (simulated_waits(needed - 2, rate, sizes, rng) <= 2.0).mean()
    assert kept >= 0.94
    assert short < 0.95


@given(
    st.floats(0.01, 1e4),
    st.floats(0.1, 5e3),
    st.floats(0.0, 5.0),
    st.sampled_from([0.0, 1.0, 60.0, 3600.0]),
)
@settings(max_examples=200, deadline=None)
def test_one_server_fewer_breaks_the_promise(rate, mean_s, cv2, promise_s):
    needed = servers_for_promise(rate, mean_s, cv2, promise_s=promise_s, share=0.95)
    assert needed > rate * mean_s
    assert mgc_wait_exceeds(promise_s, needed, rate, mean_s, cv2) <= LATE
    if needed - 1 > rate * mean_s:
        assert mgc_wait_exceeds(promise_s, needed - 1, rate, mean_s, cv2) > LATE


@given(st.integers(1, 10_000), st.floats(0.05, 0.999), st.floats(0.0, 6.0), st.floats(0.0, 10.0))
@settings(max_examples=200, deadline=None)
def test_a_server_more_never_makes_anybody_wait_longer(num_servers, rho, cv2, wait_s):
    rate = rho * num_servers
    now = mgc_wait_exceeds(wait_s, num_servers, rate, 1.0, cv2)
    more = mgc_wait_exceeds(wait_s, num_servers + 1, rate, 1.0, cv2)
    assert more <= now * (1 + 1e-9)


def test_arrays_give_what_single_numbers_give():
    rates = np.array([0.5, 5.0, 500.0])
    together = servers_for_promise(rates, 100.0, 0.5, promise_s=30.0, share=0.9)
    single = [servers_for_promise(r, 100.0, 0.5, promise_s=30.0, share=0.9) for r in rates]
    assert list(np.asarray(together)) == single


def test_a_million_servers_are_found_where_halfin_and_whitt_have_them():
    """Halfin and Whitt 1981: load + beta sqrt(load), 1 / (1 + beta Phi(beta) / phi(beta)) = 5 %."""
    beta = 1.7415
    density = math.exp(-(beta**2) / 2) / math.sqrt(2 * math.pi)
    below = (1 + math.erf(beta / math.sqrt(2))) / 2
    assert 1 / (1 + beta * below / density) == pytest.approx(0.05, rel=0.01)
    needed = servers_for_promise(1_000.0, 1_000.0, 0.3, promise_s=0.0, share=0.95)
    assert needed == pytest.approx(1e6 + beta * 1e3, abs=10)
