"""Uncertain numbers: distributions, draws, uncertainty intervals, and Sobol's shares of the variance.

A quantity is exact, low/likely/high or log-normal. Every kind is sampled through its quantile
function, so that the same uniform numbers serve Monte Carlo and the shares. Two measures say how
much an input matters:

- *share of the uncertainty*, first and total order: Sobol's variance shares (Sobol 1993) of the
  logarithm of the result, because demand multiplies up and its tail would drown the rest;
- *swing*: the result with one input at its 10th and at its 90th percentile, all others likely.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from reelgrid.report.page import KeyFigure
from reelgrid.report.table import rough, significant
from reelgrid.user_files.checking import FieldError

Draws = NDArray[np.float64]

MAX_SIZE = 1e30
"""Largest size of a quantity; one over it is the smallest, apart from 0."""

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


def with_interval(interval: Interval, unit: str = "") -> str:
    """Return the middle and its interval, `412 (380 to 455)`; one number where it is certain."""
    middle = unit + rough(interval.likely)
    if significant(interval.low) == significant(interval.high):
        return middle
    return f"{middle} ({unit}{rough(interval.low)} to {unit}{rough(interval.high)})"


def key_figure(
    label: str, interval: Interval, unit: str = "", shown: Callable[[float], str] = rough
) -> KeyFigure:
    """Return an interval as one of the numbers of an answer."""
    low, likely, high = (
        unit + shown(end) for end in (interval.low, interval.likely, interval.high)
    )
    return KeyFigure(label=label, value=likely, uncertainty=f"{low} to {high}")


@dataclass(frozen=True, slots=True)
class Exact:
    """A number that is certain."""

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
        """Whether it is certain."""
        return True

    def at(self, shares: Draws) -> Draws:
        """Return the quantiles at `shares`, each 0 to 1."""
        return np.full_like(shares, self.value, dtype=np.float64)

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
        """Whether it is certain."""
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
        """Whether it is certain."""
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


@dataclass(frozen=True, slots=True)
class Input:
    """An uncertain input: its name for people and for its random stream, and its distribution."""

    name: str
    quantity: Quantity


Values: TypeAlias = Mapping[Input, Draws]
Listener: TypeAlias = Callable[[int, int], None]
"""Called with the amount done and the total."""

LOW, MIDDLE, HIGH = 0.1, 0.5, 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Influence:
    """How much of a result's uncertainty comes from one input.

    Attributes:
        name: The input.
        first: Share of the variance of the logarithm that would go if this alone were known.
        total: Share that would stay if all others were known; larger than `first` where inputs
            act together.
        swing: The result with this at its 10th and 90th percentile and all others likely.
    """

    name: str
    first: float
    total: float
    swing: tuple[float, float]


def draw(inputs: Iterable[Input], num_draws: int, seed: int) -> dict[Input, Draws]:
    """Return independent draws of every input; the same seed gives the same draws.

    Each input has a stream of its own, made of the seed and its name, so that its draws stay the
    same when others come or go.
    """
    return {
        each: each.quantity.at(np.random.default_rng([seed, *each.name.encode()]).random(num_draws))
        for each in inputs
    }


def likely(inputs: Iterable[Input]) -> dict[Input, Draws]:
    """Return every input at its likely value, as one draw."""
    return {each: np.array([each.quantity.likely]) for each in inputs}


def interval(values: Draws) -> Interval:
    """Return the 10th, 50th and 90th percentile of draws."""
    low, middle, high = np.quantile(values, (LOW, MIDDLE, HIGH))
    return Interval(float(low), float(middle), float(high))


def influences(
    inputs: Sequence[Input],
    results: Callable[[Values], Sequence[Draws]],
    *,
    seed: int,
    log2_draws: int = 12,
    listener: Listener | None = None,
) -> tuple[tuple[Influence, ...], ...]:
    """Return the influence, for each result, of every uncertain input, the greatest first.

    Args:
        inputs: All that the results depend on.
        results: Positive numbers for each draw, one array a result.
        seed: Of the scrambling of Sobol's sequence.
        log2_draws: 2**log2_draws draws are made for each input.
        listener: Called after each input.
    """
    uncertain = [each for each in inputs if not each.quantity.is_exact]
    if not uncertain:
        return tuple(() for _ in results(likely(inputs)))
    first, second = _designs(len(uncertain), seed, log2_draws)

    def logarithms(design: Draws) -> Draws:
        return np.log(np.stack(results(_at_design(inputs, uncertain, design))))

    at_first, at_second = logarithms(first), logarithms(second)
    at_mixed, swings = [], []
    for column, one in enumerate(uncertain):
        mixed = first.copy()
        mixed[:, column] = second[:, column]
        at_mixed.append(logarithms(mixed))
        swings.append(_swings(inputs, one, results))
        if listener is not None:
            listener(column + 1, len(uncertain))
    shares = _shares(at_first, at_second, np.stack(at_mixed))
    return tuple(
        _ranked(uncertain, shares[:, index], [swing[index] for swing in swings])
        for index in range(len(at_first))
    )


def _shares(at_first: Draws, at_second: Draws, at_mixed: Draws) -> Draws:
    """Return first and total order by result and input, from two designs and their mixtures.

    Args:
        at_first: Results by draws.
        at_second: The same for the second design.
        at_mixed: Inputs by results by draws; each with one input of the second design.
    """
    from scipy.stats import sobol_indices

    # The results are given twice because SciPy 1.17 fails on one result of one input.
    doubled = {"f_A": at_first, "f_B": at_second, "f_AB": at_mixed}
    found = sobol_indices(
        func={key: np.concatenate([each, each], axis=-2) for key, each in doubled.items()},
        n=at_first.shape[-1],
    )
    shares = np.stack([found.first_order, found.total_order])
    by_result = shares.reshape(2, 2 * len(at_first), len(at_mixed))[:, : len(at_first)]
    return np.asarray(np.clip(by_result, 0.0, 1.0))  # an estimate may stray a little beyond 0 and 1


def _ranked(
    inputs: Sequence[Input], shares: Draws, swings: Sequence[Draws]
) -> tuple[Influence, ...]:
    found = [
        Influence(
            name=one.name,
            first=float(first),
            total=float(total),
            swing=(float(swing[0]), float(swing[1])),
        )
        for one, first, total, swing in zip(inputs, *shares, swings, strict=True)
    ]
    return tuple(sorted(found, key=lambda one: (-one.total, one.name)))


def _designs(num_inputs: int, seed: int, log2_draws: int) -> tuple[Draws, Draws]:
    """Return two independent designs of quantiles, draws by inputs."""
    from scipy.stats import qmc

    both = qmc.Sobol(2 * num_inputs, rng=np.random.default_rng(seed)).random_base2(log2_draws)
    both = np.clip(both, 1e-12, 1 - 1e-12)  # a log-normal has no value at 0 or 1
    return both[:, :num_inputs], both[:, num_inputs:]


def _at_design(
    inputs: Sequence[Input], uncertain: Sequence[Input], design: Draws
) -> dict[Input, Draws]:
    ones = np.ones(len(design))
    values = {each: each.quantity.likely * ones for each in inputs}
    return values | {each: each.quantity.at(design[:, i]) for i, each in enumerate(uncertain)}


def _swings(
    inputs: Sequence[Input], one: Input, results: Callable[[Values], Sequence[Draws]]
) -> Sequence[Draws]:
    values = {each: np.repeat(each.quantity.likely, 2) for each in inputs}
    return results(values | {one: one.quantity.at(np.array([LOW, HIGH]))})
