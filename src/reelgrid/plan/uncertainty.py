"""A number that may be in doubt: exact, low/likely/high, or log-normal.

Every kind is sampled through its quantile function, so that the same uniform numbers serve plain
Monte Carlo, common random numbers and variance shares (`uncertainty`). Not here: what a quantity is
of; the names of the keys that hold one say that, with their unit.

From inputs in doubt to a result in doubt: intervals, and which input the doubt comes from.

Two measures of influence, both tested on functions whose answer is known:

- *share of the doubt*, first and total order: Sobol's variance shares (Sobol 1993; estimators
  (b) and (f) of Saltelli et al. 2010, "Variance based sensitivity analysis of model output"), of
  the logarithm of the result, because demand multiplies up and its tail would drown the rest;
- *swing*: the result with one input at its 10th and at its 90th percentile, all others likely.

Not here: what the inputs are (`throughput`, `model`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from reelgrid.user_files import FieldError

Draws = NDArray[np.float64]

MAX_SIZE = 1e30
"""No quantity of this world is larger, or, but for 0, smaller than one over it."""

MAX_SIGMA = 5.0
"""A log-normal of a larger sigma spans more than 13 powers of ten between its 0.1 % ends."""


Z_80 = 1.2815515594600038
"""Standard normal deviate of the 90th percentile: between -z and z lie 80 %."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An 80 % interval: the 10th, 50th and 90th percentile."""

    low: float
    likely: float
    high: float

    def __post_init__(self) -> None:
        assert self.low <= self.likely <= self.high

    def times(self, factor: float) -> "Interval":
        """Return the interval in another unit; `factor` is positive."""
        return Interval(self.low * factor, self.likely * factor, self.high * factor)


@dataclass(frozen=True, slots=True)
class Exact:
    """A number without doubt."""

    value: float

    def __post_init__(self) -> None:
        _check_finite(value=self.value)

    @property
    def likely(self) -> float:
        """The number."""
        return self.value

    @property
    def low(self) -> float:
        """The smallest value it can take."""
        return self.value

    @property
    def high(self) -> float:
        """The largest value it can take."""
        return self.value

    @property
    def is_exact(self) -> bool:
        """Whether there is no doubt."""
        return True

    def at(self, shares: Draws) -> Draws:
        """Return the quantiles at `shares`, each 0 to 1."""
        return np.full_like(shares, self.value, dtype=np.float64)

    def sample(self, rng: np.random.Generator, num_draws: int) -> Draws:
        """Return `num_draws` independent draws."""
        return self.at(rng.random(num_draws))

    def __str__(self) -> str:
        return f"{self.value:.6g}"


@dataclass(frozen=True, slots=True)
class Triangular:
    """A triangular distribution: nothing is below `low` or above `high`, `likely` is the mode."""

    low: float
    likely: float
    high: float

    def __post_init__(self) -> None:
        _check_finite(low=self.low, likely=self.likely, high=self.high)
        for smaller, larger in (("low", "likely"), ("likely", "high")):
            if getattr(self, smaller) > getattr(self, larger):
                raise FieldError(
                    f"expected low <= likely <= high, got {smaller} {getattr(self, smaller):g} "
                    f"above {larger} {getattr(self, larger):g}",
                    param=smaller,
                )

    @property
    def is_exact(self) -> bool:
        """Whether there is no doubt."""
        return self.low == self.high

    def at(self, shares: Draws) -> Draws:
        """Return the quantiles at `shares`, each 0 to 1."""
        if self.is_exact:
            return np.full_like(shares, self.likely, dtype=np.float64)
        width = self.high - self.low
        knee = (self.likely - self.low) / width
        rising = self.low + np.sqrt(shares * width * (self.likely - self.low))
        falling = self.high - np.sqrt((1 - shares) * width * (self.high - self.likely))
        return np.where(shares < knee, rising, falling)

    def sample(self, rng: np.random.Generator, num_draws: int) -> Draws:
        """Return `num_draws` independent draws."""
        return self.at(rng.random(num_draws))

    def __str__(self) -> str:
        return f"{self.low:.6g} / {self.likely:.6g} / {self.high:.6g}"


@dataclass(frozen=True, slots=True)
class LogNormal:
    """A log-normal distribution, cut off at its ends where such are given.

    Attributes:
        median: Of the distribution before it is cut.
        sigma: Standard deviation of the natural logarithm, 0 to 5.
        at_least: Values below do not occur.
        at_most: Values above do not occur.
    """

    median: float
    sigma: float
    at_least: float = 0.0
    at_most: float = math.inf

    def __post_init__(self) -> None:
        _check_finite(median=self.median, sigma=self.sigma, at_least=self.at_least)
        if math.isnan(self.at_most):
            raise FieldError("expected a number, got nan", param="at_most")
        if self.median <= 0:
            raise FieldError(f"expected a median above 0, got {self.median:g}", param="median")
        if not 0 <= self.sigma <= MAX_SIGMA:
            raise FieldError(
                f"expected a sigma from 0 to {MAX_SIGMA:g}, got {self.sigma:g}", param="sigma"
            )
        if not self.at_least <= self.median <= self.at_most:
            raise FieldError(
                f"expected at_least <= median <= at_most, got {self.at_least:g}, "
                f"{self.median:g}, {self.at_most:g}",
                param="median",
            )

    @property
    def likely(self) -> float:
        """The median of the uncut distribution."""
        return self.median

    @property
    def low(self) -> float:
        """The smallest value it can take."""
        return self.median if self.is_exact else self.at_least

    @property
    def high(self) -> float:
        """The largest value it can take."""
        return self.median if self.is_exact else self.at_most

    @property
    def is_exact(self) -> bool:
        """Whether there is no doubt."""
        return self.sigma == 0 or self.at_least == self.at_most

    def at(self, shares: Draws) -> Draws:
        """Return the quantiles at `shares`, each 0 to 1."""
        if self.is_exact:
            return np.full_like(shares, self.median, dtype=np.float64)
        from scipy.special import ndtr, ndtri

        first, last = ndtr(self._deviation(self.at_least)), ndtr(self._deviation(self.at_most))
        deviations = ndtri(first + shares * (last - first))
        values: Draws = self.median * np.exp(self.sigma * deviations)
        return np.clip(values, self.at_least, self.at_most)

    def sample(self, rng: np.random.Generator, num_draws: int) -> Draws:
        """Return `num_draws` independent draws."""
        return self.at(rng.random(num_draws))

    def _deviation(self, value: float) -> float:
        """Return how many standard deviations of the logarithm `value` is from the median."""
        if value <= 0:
            return -math.inf
        return math.log(value / self.median) / self.sigma

    def __str__(self) -> str:
        return f"about {self.median:.6g}, times or over {math.exp(self.sigma):.3g}"


Quantity: TypeAlias = Exact | Triangular | LogNormal


def _check_finite(**values: float) -> None:
    for name, value in values.items():
        if not math.isfinite(value):
            raise FieldError(f"expected a finite number, got {value}", param=name)
        if value and not 1 / MAX_SIZE <= abs(value) <= MAX_SIZE:
            raise FieldError(
                f"expected a number between {1 / MAX_SIZE:g} and {MAX_SIZE:g}, got {value:g}",
                param=name,
            )


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
