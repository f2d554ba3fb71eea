"""Cross-validation of the fitted formula: its errors on observations that the fit has not seen.

A fold is every observation of one source, or every one on one kind of GPU. For each fold the whole
fit is made again without it, spreads and intervals included.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reelgrid.plan.prediction.calibration import Calibration, has_own_kernels
from reelgrid.plan.prediction.fit import case_of, fit
from reelgrid.plan.prediction.observations import Observation, Stack
from reelgrid.plan.uncertainty import Z_80

FoldKey = Callable[[Observation], str]

Progress = Callable[[int, int], None]
"""Called with the number of folds done and their total."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """A prediction of an observation by a fit that has not seen it.

    Attributes:
        log_error: Logarithm of predicted over observed seconds.
        sigma: Standard deviation by the fit, before any widening.
        is_stack_seen: Whether the fit had the GPU's generation with the same kernel class.
        is_gpu_seen: Whether the fit had the GPU.
    """

    observation: Observation
    log_error: float
    sigma: float
    is_stack_seen: bool
    is_gpu_seen: bool

    @property
    def relative_error(self) -> float:
        """Predicted over observed, minus 1."""
        return math.expm1(self.log_error)

    @property
    def is_published(self) -> bool:
        """Whether it is a row of `latencies.csv`, not one of ML.ENERGY's table."""
        return not self.observation.name.startswith("e")


@dataclass(frozen=True, slots=True)
class Errors:
    """Relative errors of guesses.

    Attributes:
        count: Number of guesses.
        median: Median of the absolute relative errors.
        p90: Their 90th percentile.
        coverage: Share of the observations within the 80 % intervals.
        bias: Median of the signed relative errors.
    """

    count: int
    median: float
    p90: float
    coverage: float
    bias: float


def source_of(observation: Observation) -> str:
    """Return who measured; all files of a project are one source."""
    return observation.source_name


def gpu_of(observation: Observation) -> str:
    """Return the kind of GPU by name."""
    return observation.stack.gpu.fitted_as


def leave_out(
    observations: Sequence[Observation], key: FoldKey, *, folds: Iterable[str] | None = None
) -> list[Guess]:
    """Return guesses of observations, each by a fit without its fold.

    Args:
        observations: What to fit and to guess; at least two folds.
        key: Returns the fold of an observation, such as `source_of`.
        folds: Those that are guessed; by default all.
    """
    return [
        each
        for fold in sorted(folds or {key(each) for each in observations})
        for each in guess(*without(observations, key, fold))
    ]


def leave_out_each(
    observations: Sequence[Observation], key: FoldKey, progress: Progress = lambda done, total: None
) -> tuple[list[Guess], list[Guess]]:
    """Return guesses of all observations, each by a fit without its fold.

    Args:
        observations: What to fit and to guess; at least two folds.
        key: Returns the fold of an observation, such as `source_of`.
        progress: Called with the number of folds done and their total.

    Returns:
        Guesses with kernel and software as observed, and guesses with neither of them.
    """
    as_observed: list[Guess] = []
    unspecified: list[Guess] = []
    folds = sorted({key(each) for each in observations})
    for num_done, fold in enumerate(folds, 1):
        calibration, fitted, unseen = without(observations, key, fold)
        as_observed += guess(calibration, fitted, unseen)
        unspecified += guess(calibration, fitted, unseen, asked=without_stack_details)
        progress(num_done, len(folds))
    return as_observed, unspecified


def fit_with_intervals(
    observations: Sequence[Observation],
    as_observed: Sequence[Guess],
    unspecified: Sequence[Guess],
    *,
    date: str,
) -> Calibration:
    """Return the fit of observations, its intervals widened by what left-out sources ask for.

    Args:
        observations: Measured latencies.
        as_observed: From `leave_out_each` with `source_of`.
        unspecified: From the same call.
        date: Date of the fit.
    """
    return fit(
        observations,
        date=date,
        widening=widening(as_observed),
        widening_unspecified=widening([each for each in unspecified if each.is_published]),
    )


def without(
    observations: Sequence[Observation], key: FoldKey, fold: str
) -> tuple[Calibration, list[Observation], list[Observation]]:
    """Return the fit without a fold, what it was fitted to, and the fold."""
    kept = [each for each in observations if key(each) != fold]
    return fit(kept, date=""), kept, [each for each in observations if key(each) == fold]


def without_stack_details(observation: Observation) -> Observation:
    """Return the observation with its kernel and software unknown, as a caller may ask."""
    return replace(observation, stack=replace(observation.stack, kernel=None, software=None))


def guess(
    calibration: Calibration,
    fitted: Sequence[Observation],
    unseen: Iterable[Observation],
    *,
    asked: Callable[[Observation], Observation] = lambda observation: observation,
) -> list[Guess]:
    """Return guesses of unseen observations by a fit.

    Args:
        calibration: The fit.
        fitted: What it was fitted to.
        unseen: What to guess; effects of their groups and setups are not used.
        asked: Changes an observation before it is guessed, such as `without_stack_details`.
    """
    stacks = {_stack_class(each.stack) for each in fitted}
    answer = []
    for each in unseen:
        case = replace(case_of(asked(each)), group=None, setup=None)
        log_s, sigma = calibration.time(case)
        answer.append(
            Guess(
                observation=each,
                log_error=log_s - math.log(each.seconds),
                sigma=sigma,
                is_stack_seen=_stack_class(each.stack) in stacks,
                is_gpu_seen=calibration.knows(f"gpu:{each.stack.gpu.fitted_as}"),
            )
        )
    return answer


def errors(guesses: Sequence[Guess], widening: float = 1.0) -> Errors:
    """Return the errors of guesses, and the share within their 80 % intervals.

    Args:
        guesses: At least one.
        widening: Factor on the intervals.
    """
    relative = np.array([each.relative_error for each in guesses])
    within = [abs(each.log_error) <= Z_80 * widening * each.sigma for each in guesses]
    return Errors(
        count=len(guesses),
        median=float(np.median(np.abs(relative))),
        p90=float(np.quantile(np.abs(relative), 0.9)),
        coverage=float(np.mean(within)),
        bias=float(np.median(relative)),
    )


def widening(guesses: Sequence[Guess]) -> float:
    """Return the factor on intervals with which they hold 80 % of the observations; at least 1.

    The conformal quantile of the standardised errors (Papadopoulos et al., ECML 2002).
    """
    scores = sorted(abs(each.log_error) / each.sigma for each in guesses)
    rank = min(len(scores), math.ceil(0.8 * (len(scores) + 1)))
    return max(1.0, scores[rank - 1] / Z_80)


def coverage_by_fold(guesses: Sequence[Guess], key: FoldKey) -> float:
    """Return the share of observations within intervals widened by what the other folds ask for."""
    held = 0
    for fold in {key(each.observation) for each in guesses}:
        factor = widening([each for each in guesses if key(each.observation) != fold])
        own = [each for each in guesses if key(each.observation) == fold]
        held += sum(abs(each.log_error) <= Z_80 * factor * each.sigma for each in own)
    return held / len(guesses)


def _stack_class(stack: Stack) -> tuple[str, str | None]:
    """Return generation and kernel class; `portable` where a GPU has no kernels of its own."""
    if stack.kernel != "low-bit" and not has_own_kernels(stack.gpu):
        return stack.gpu.generation, "portable"
    return stack.gpu.generation, stack.kernel
