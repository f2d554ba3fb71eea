"""Uncertain quantities have their stated quantiles, ends and likely value."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelgrid.errors import RequestError
from reelgrid.plan.uncertainty import Exact, LogNormal, Triangular

SHARES = np.linspace(0.0, 1.0, 101)
REAL = st.floats(-1e9, 1e9).map(lambda value: round(value, 6))


def uniform(seed: int, num_draws: int):
    return np.random.default_rng(seed).random(num_draws)


def test_a_plain_number_is_itself_in_every_draw():
    assert set(Exact(3.5).at(uniform(1, 10))) == {3.5}


def test_a_triangle_has_the_mean_and_variance_of_the_textbook():
    draws = Triangular(1, 2, 6).at(uniform(1, 400_000))
    assert draws.mean() == pytest.approx(3.0, rel=3e-3)
    variance = (1 + 4 + 36 - 2 - 6 - 12) / 18
    assert draws.var() == pytest.approx(variance, rel=1e-2)


def test_a_triangle_below_its_mode_has_the_share_of_the_textbook():
    assert Triangular(1, 2, 6).at(np.array([1 / 5]))[0] == pytest.approx(2.0)


@given(st.lists(REAL, min_size=3, max_size=3).map(sorted))
def test_a_triangle_stays_within_its_ends_and_rises(ends):
    values = Triangular(*ends).at(SHARES)
    slack = 1e-9 * max(map(abs, ends)) + 1e-9
    assert values.min() >= ends[0] - slack
    assert values.max() <= ends[2] + slack
    assert np.all(np.diff(values) >= -slack)


def test_a_triangle_without_width_is_a_plain_number():
    assert Triangular(2, 2, 2).is_exact
    assert np.array_equal(Triangular(2, 2, 2).at(SHARES), Exact(2.0).at(SHARES))


def test_a_log_normal_has_its_median_and_sigma():
    logs = np.log(LogNormal(5.0, 0.7).at(uniform(2, 400_000)))
    assert logs.mean() == pytest.approx(math.log(5), abs=5e-3)
    assert logs.std() == pytest.approx(0.7, rel=5e-3)


def test_a_log_normal_is_cut_at_its_ends():
    cut = LogNormal(2.0, 1.0, at_least=1.0, at_most=5.0)
    draws = cut.at(uniform(3, 200_000))
    whole = LogNormal(2.0, 1.0).at(uniform(4, 800_000))
    kept = whole[(whole >= 1) & (whole <= 5)]
    assert draws.min() >= 1
    assert draws.max() <= 5
    assert np.median(draws) == pytest.approx(np.median(kept), rel=5e-3)
    assert draws.mean() == pytest.approx(kept.mean(), rel=5e-3)


def test_a_log_normal_without_sigma_is_a_plain_number():
    assert LogNormal(4.0, 0.0).is_exact
    assert set(LogNormal(4.0, 0.0).at(SHARES)) == {4.0}


@pytest.mark.parametrize(
    ("make", "param"),
    [
        (lambda: Exact(math.nan), "value"),
        (lambda: Exact(math.inf), "value"),
        (lambda: Exact(1e31), "value"),
        (lambda: Exact(-1e-31), "value"),
        (lambda: Triangular(3, 2, 4), "low"),
        (lambda: Triangular(1, 5, 4), "likely"),
        (lambda: Triangular(math.nan, 2, 4), "low"),
        (lambda: LogNormal(0.0, 1.0), "median"),
        (lambda: LogNormal(-1.0, 1.0), "median"),
        (lambda: LogNormal(1.0, -0.1), "sigma"),
        (lambda: LogNormal(1.0, 6.0), "sigma"),
        (lambda: LogNormal(1.0, 1.0, at_least=2.0), "median"),
        (lambda: LogNormal(1.0, 1.0, at_most=math.nan), "at_most"),
    ],
)
def test_an_invalid_distribution_is_refused_with_its_parameter(make, param):
    with pytest.raises(RequestError) as caught:
        make()
    assert caught.value.param == param
