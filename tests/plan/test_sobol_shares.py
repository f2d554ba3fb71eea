"""Intervals and influences, on functions with a known answer."""

import math
from collections.abc import Mapping

import numpy as np
import pytest

from reelgrid.plan.uncertainty import (
    Exact,
    Influence,
    Input,
    LogNormal,
    Quantity,
    Triangular,
    draw,
    interval,
)
from reelgrid.plan.uncertainty import influences as influences_on_all


def influences(quantities: Mapping[str, Quantity], result, **options) -> tuple[Influence, ...]:
    """The influences on one result, a function of values by name."""

    def results(values):
        return (result({each.name: value for each, value in values.items()}),)

    (found,) = influences_on_all(named(quantities), results, **options)
    return found


def named(quantities: Mapping[str, Quantity]) -> list[Input]:
    return [Input(name, quantity) for name, quantity in quantities.items()]


A, B = Input("a", LogNormal(1, 1)), Input("b", LogNormal(1, 1))


def ishigami(values):
    """The exponential of Ishigami's function of uniform angles, since shares are of logarithms.

    The inputs are triangles from 0 to 1 with their mode at 0; 1 - (1 - x)**2 makes them uniform.
    """
    x = [math.pi * (2 * (1 - (1 - values[name]) ** 2) - 1) for name in ("x1", "x2", "x3")]
    return np.exp(np.sin(x[0]) + 7 * np.sin(x[1]) ** 2 + 0.1 * x[2] ** 4 * np.sin(x[0]))


def test_ishigamis_shares_are_the_known_ones():
    """Ishigami and Homma 1990; a = 7, b = 0.1: S = 0.3139, 0.4424, 0; totals 0.5576, 0.4424, 0.2437."""
    inputs: dict[str, Quantity] = {name: Triangular(0, 0, 1) for name in ("x1", "x2", "x3")}
    found = {one.name: one for one in influences(inputs, ishigami, seed=1, log2_draws=14)}
    first = [found[name].first for name in ("x1", "x2", "x3")]
    total = [found[name].total for name in ("x1", "x2", "x3")]
    assert first == pytest.approx([0.3139, 0.4424, 0.0], abs=0.01)
    assert total == pytest.approx([0.5576, 0.4424, 0.2437], abs=0.01)


def test_of_a_product_of_log_normals_each_has_its_share_of_the_variance():
    inputs: dict[str, Quantity] = {"a": LogNormal(3, 0.2), "b": LogNormal(5, 0.4), "c": Exact(7.0)}
    found = influences(inputs, lambda v: v["a"] * v["c"] / v["b"], seed=2)
    assert [one.name for one in found] == ["b", "a"]
    assert [one.first for one in found] == pytest.approx([0.8, 0.2], abs=0.01)
    assert [one.total for one in found] == pytest.approx([0.8, 0.2], abs=0.01)


def test_the_swing_is_the_result_at_the_tenth_and_ninetieth_percentile():
    inputs: dict[str, Quantity] = {"a": LogNormal(3, 0.2), "b": Triangular(1, 2, 3)}
    found = {one.name: one for one in influences(inputs, lambda v: v["a"] * v["b"], seed=2)}
    spread = math.exp(0.2 * 1.2815515594600038)
    assert found["a"].swing == pytest.approx((6 / spread, 6 * spread))


def test_an_input_without_influence_has_no_share():
    inputs = {"a": LogNormal(3, 0.2), "idle": LogNormal(5, 0.4)}
    found = influences(inputs, lambda v: v["a"] * 2, seed=2)
    assert found[-1].name == "idle"
    assert found[-1].total == 0


def test_certain_inputs_have_no_ranking():
    assert influences({"a": Exact(1.0)}, lambda v: v["a"], seed=0) == ()


def test_the_interval_of_a_log_normal_is_the_closed_form():
    ten = Input("ten", LogNormal(10, 0.5))
    found = interval(draw([ten], 400_000, seed=3)[ten])
    spread = math.exp(0.5 * 1.2815515594600038)
    assert (found.low, found.likely, found.high) == pytest.approx(
        (10 / spread, 10, 10 * spread), rel=0.01
    )


def test_the_same_seed_gives_the_same_draws_whatever_else_is_drawn():
    alone = draw([A], 100, seed=5)[A]
    beside = draw([B, A], 100, seed=5)[A]
    other = draw([A], 100, seed=6)[A]
    assert np.array_equal(alone, beside)
    assert not np.array_equal(alone, other)


def test_inputs_are_drawn_independently():
    found = draw([A, B], 100_000, seed=5)
    assert abs(np.corrcoef(np.log(found[A]), np.log(found[B]))[0, 1]) < 0.01


def test_the_listener_is_called_after_every_input():
    heard = []
    inputs = {"a": LogNormal(3, 0.2), "b": LogNormal(5, 0.4)}
    influences(inputs, lambda v: v["a"] * v["b"], seed=0, listener=lambda *step: heard.append(step))
    assert heard == [(1, 2), (2, 2)]


def test_several_results_are_ranked_from_the_same_draws():
    a, b = Input("a", LogNormal(3, 0.2)), Input("b", LogNormal(5, 0.4))
    quantities = {"a": a.quantity, "b": b.quantity}
    both = influences_on_all([a, b], lambda v: (v[a] * v[b], v[a]), seed=1)
    assert both[0] == influences(quantities, lambda v: v["a"] * v["b"], seed=1)
    assert both[1] == influences(quantities, lambda v: v["a"], seed=1)
    assert both[1][0].total == pytest.approx(1)


def test_one_input_alone_has_all_of_the_variance():
    (one,) = influences({"a": LogNormal(3, 0.2)}, lambda v: v["a"], seed=1)
    assert (one.first, one.total) == pytest.approx((1, 1), abs=0.01)
