"""From inputs in doubt to a result in doubt: intervals, and which input the doubt comes from.

Two measures of influence, both tested on functions whose answer is known:

- *share of the doubt*, first and total order: Sobol's variance shares (Sobol 1993; estimators
  (b) and (f) of Saltelli et al. 2010, "Variance based sensitivity analysis of model output"), of
  the logarithm of the result, because demand multiplies up and its tail would drown the rest;
- *swing*: the result with one input at its 10th and at its 90th percentile, all others likely.

Not here: what the inputs are (`service`, `demand`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from reelgrid.plan.predict import Interval
from reelgrid.plan.quantity import Draws, Quantity

Inputs: TypeAlias = Mapping[str, Quantity]
Values: TypeAlias = Mapping[str, Draws]
Listener: TypeAlias = Callable[[int, int], None]
"""Told how much is done, of how much."""

LOW, MIDDLE, HIGH = 0.1, 0.5, 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Influence:
    """How much of a result's doubt comes from one input.

    Attributes:
        name: The input.
        first: Share of the variance of the logarithm that would go if this alone were known.
        total: Share that would stay if all others were known; beyond `first` by interplay.
        swing: The result with this at its 10th and 90th percentile and all others likely.
    """

    name: str
    first: float
    total: float
    swing: tuple[float, float]


def draw(inputs: Inputs, num_draws: int, seed: int) -> dict[str, Draws]:
    """Return independent draws of every input; the same seed gives the same draws.

    Each input has a stream of its own, made of the seed and its name, so that its draws stay the
    same when others come or go.
    """
    return {
        name: quantity.sample(_stream(seed, name), num_draws) for name, quantity in inputs.items()
    }


def likely(inputs: Inputs) -> dict[str, Draws]:
    """Return every input at its likely value, as one draw."""
    return {name: np.array([quantity.likely]) for name, quantity in inputs.items()}


def interval(values: Draws) -> Interval:
    """Return the 10th, 50th and 90th percentile of draws."""
    low, middle, high = np.quantile(values, (LOW, MIDDLE, HIGH))
    return Interval(float(low), float(middle), float(high))


def influences(
    inputs: Inputs,
    results: Callable[[Values], Sequence[Draws]],
    *,
    seed: int,
    log2_draws: int = 12,
    listener: Listener | None = None,
) -> tuple[tuple[Influence, ...], ...]:
    """Return the influence, for each result, of every input in doubt, the greatest first.

    Args:
        inputs: By name.
        results: Positive numbers for each draw, one array a result.
        seed: Of the scrambling of Sobol's sequence.
        log2_draws: The estimate rests on 2**log2_draws draws an input.
        listener: Told after each input.
    """
    names = [name for name, quantity in inputs.items() if not quantity.is_exact]
    if not names:
        return tuple(() for _ in results(likely(inputs)))
    first, second = _designs(len(names), seed, log2_draws)

    def logarithms(design: Draws) -> Draws:
        return np.log(np.stack(results(_values(inputs, names, design))))

    at_first, at_second = logarithms(first), logarithms(second)
    found: list[list[Influence]] = [[] for _ in at_first]
    for column, name in enumerate(names):
        mixed = first.copy()
        mixed[:, column] = second[:, column]
        at_mixed = logarithms(mixed)
        swings = _swings(inputs, name, results)
        for index, ranked in enumerate(found):
            shares = _shares(at_first[index], at_second[index], at_mixed[index])
            low, high = swings[index]
            swing = (float(low), float(high))
            ranked.append(Influence(name=name, first=shares[0], total=shares[1], swing=swing))
        if listener is not None:
            listener(column + 1, len(names))
    return tuple(tuple(sorted(each, key=lambda one: (-one.total, one.name))) for each in found)


def _shares(at_first: Draws, at_second: Draws, at_mixed: Draws) -> tuple[float, float]:
    """Return the first and total share; `at_mixed` has one input of the second design."""
    variance = float(np.var(np.concatenate([at_first, at_second])))
    if variance == 0:
        return 0.0, 0.0
    own = np.mean((at_second - at_second.mean()) * (at_mixed - at_first)) / variance
    total = np.mean((at_first - at_mixed) ** 2) / 2 / variance
    return _within_one(own), _within_one(total)


def _designs(num_inputs: int, seed: int, log2_draws: int) -> tuple[Draws, Draws]:
    """Return two independent designs of shares, draws by inputs."""
    from scipy.stats import qmc

    both = qmc.Sobol(2 * num_inputs, rng=np.random.default_rng(seed)).random_base2(log2_draws)
    both = np.clip(both, 1e-12, 1 - 1e-12)  # a log-normal has no value at 0 or 1
    return both[:, :num_inputs], both[:, num_inputs:]


def _values(inputs: Inputs, names: list[str], design: Draws) -> dict[str, Draws]:
    ones = np.ones(len(design))
    values = {name: quantity.likely * ones for name, quantity in inputs.items()}
    values |= {name: inputs[name].at(design[:, i]) for i, name in enumerate(names)}
    return values


def _swings(
    inputs: Inputs, name: str, results: Callable[[Values], Sequence[Draws]]
) -> Sequence[Draws]:
    values = {other: np.repeat(quantity.likely, 2) for other, quantity in inputs.items()}
    values[name] = inputs[name].at(np.array([LOW, HIGH]))
    return results(values)


def _within_one(share: np.floating) -> float:
    """Return a share; its estimate may stray a little beyond 0 and 1."""
    return float(np.clip(share, 0.0, 1.0))


def _stream(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, *name.encode()])
