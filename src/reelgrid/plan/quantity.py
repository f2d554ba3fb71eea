"""A number that may be in doubt: exact, low/likely/high, or log-normal.

Every kind is sampled through its quantile function, so that the same uniform numbers serve plain
Monte Carlo, common random numbers and variance shares (`montecarlo`). Not here: what a quantity is
of; the names of the keys that hold one say that, with their unit.
"""

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from reelgrid.errors import RequestError

Draws = NDArray[np.float64]

MAX_SIZE = 1e30
"""No quantity of this world is larger, or, but for 0, smaller than one over it."""

MAX_SIGMA = 5.0
"""A log-normal of a larger sigma spans more than 13 powers of ten between its 0.1 % ends."""


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
                raise RequestError(
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
            raise RequestError("expected a number, got nan", param="at_most")
        if self.median <= 0:
            raise RequestError(f"expected a median above 0, got {self.median:g}", param="median")
        if not 0 <= self.sigma <= MAX_SIGMA:
            raise RequestError(
                f"expected a sigma from 0 to {MAX_SIGMA:g}, got {self.sigma:g}", param="sigma"
            )
        if not self.at_least <= self.median <= self.at_most:
            raise RequestError(
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
            raise RequestError(f"expected a finite number, got {value}", param=name)
        if value and not 1 / MAX_SIZE <= abs(value) <= MAX_SIZE:
            raise RequestError(
                f"expected a number between {1 / MAX_SIZE:g} and {MAX_SIZE:g}, got {value:g}",
                param=name,
            )
