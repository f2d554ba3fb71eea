"""How wrong the fitted formula is on what it has not seen: cross-validation by whole folds.

A fold is everything of one source, or everything on one kind of GPU. For each the whole fit is
made anew without it, spreads and intervals included; nothing of a fold reaches its own prediction.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reelgrid.plan.prediction.calibration import Calibration, has_own_kernels
from reelgrid.plan.prediction.fit import case_of, fit
from reelgrid.plan.prediction.formula import Case
from reelgrid.plan.prediction.observations import Observation, Stack
from reelgrid.plan.uncertainty import Z_80

Key = Callable[[Observation], str]

Ask = Callable[[Observation], Observation]


@dataclass(frozen=True, slots=True)
class Guess:
    """A prediction of an observation by a fit that has not seen it.

    Attributes:
        fold: What was left out.
        log_error: Logarithm of predicted over observed seconds.
        sigma: Standard deviation that the fit gave, before any widening.
        is_stack_seen: Whether the fit knew the GPU's generation with the same kernel class.
        is_gpu_seen: Whether the fit knew the GPU.
    """

    observation: Observation
    fold: str
    log_error: float
    sigma: float
    is_stack_seen: bool
    is_gpu_seen: bool

    @property
    def relative_error(self) -> float:
        """Predicted over observed, minus 1."""
        return math.expm1(self.log_error)


@dataclass(frozen=True, slots=True)
class Errors:
    """A summary of guesses.

    Attributes:
        median: Of the absolute relative errors.
        p90: Their 90th percentile.
        coverage: Share of the observations within the 80 % intervals.
        bias: Median of the relative errors with their signs.
    """

    count: int
    median: float
    p90: float
    coverage: float
    bias: float


def source_of(observation: Observation) -> str:
    """Return who measured, all files of a project as one."""
    return observation.source_name


def gpu_of(observation: Observation) -> str:
    """Return the kind of GPU by name."""
    return observation.stack.gpu.fitted_as


def leave_out(
    observations: Sequence[Observation],
    key: Key,
    *,
    folds: Iterable[str] | None = None,
    asked: Ask | None = None,
) -> list[Guess]:
    """Return guesses of observations, each by a fit without its fold.

    Args:
        observations: What to fit and to guess; at least two folds.
        key: The fold of an observation, such as `source_of`.
        folds: Those that are guessed; all where none are given.
        asked: What of an observation is told when it is guessed; all where nothing is given.
    """
    return [
        each
        for fold in sorted(folds or {key(each) for each in observations})
        for each in guess(*without(observations, key, fold), asked=asked)
    ]


def without(
    observations: Sequence[Observation], key: Key, fold: str
) -> tuple[Calibration, list[Observation], list[Observation]]:
    """Return the fit without a fold, what it was fitted to, and the fold."""
    kept = [each for each in observations if key(each) != fold]
    return fit(kept, date=""), kept, [each for each in observations if key(each) == fold]


def without_stack_details(observation: Observation) -> Observation:
    """Return the observation as a caller asks who does not know the kernel and the software."""
    return replace(observation, stack=replace(observation.stack, kernel=None, software=None))


def guess(
    calibration: Calibration,
    fitted: Sequence[Observation],
    unseen: Iterable[Observation],
    *,
    asked: Ask | None = None,
) -> list[Guess]:
    """Return guesses of unseen observations by a fit.

    Args:
        calibration: The fit.
        fitted: What it was fitted to.
        unseen: What to guess; their groups are unknown to the fit.
        asked: What of them is told; all where nothing is given.
    """
    stacks = {_class_of(each.stack) for each in fitted}
    answer = []
    for each in unseen:
        case = case_of(asked(each) if asked else each)
        log_s, sigma = calibration.time(Case(case.workload, case.stack, case.is_whole))
        answer.append(
            Guess(
                each,
                source_of(each),
                log_s - math.log(each.seconds),
                sigma,
                _class_of(each.stack) in stacks,
                calibration.knows(f"gpu:{each.stack.gpu.fitted_as}"),
            )
        )
    return answer


def errors(guesses: Sequence[Guess], widening: float = 1.0) -> Errors:
    """Return what guesses were wrong by, and how often their 80 % intervals held.

    Args:
        guesses: At least one.
        widening: Factor on the intervals.
    """
    relative = np.array([each.relative_error for each in guesses])
    held = [abs(each.log_error) <= Z_80 * widening * each.sigma for each in guesses]
    return Errors(
        count=len(guesses),
        median=float(np.median(np.abs(relative))),
        p90=float(np.quantile(np.abs(relative), 0.9)),
        coverage=float(np.mean(held)),
        bias=float(np.median(relative)),
    )


def widening(guesses: Sequence[Guess]) -> float:
    """Return the factor on intervals with which 80 % of them hold; never below 1.

    The conformal quantile of the standardised errors (Papadopoulos et al., ECML 2002).
    """
    scores = sorted(abs(each.log_error) / each.sigma for each in guesses)
    place = min(len(scores), math.ceil(0.8 * (len(scores) + 1))) - 1
    return max(1.0, scores[place] / Z_80)


def covered(guesses: Sequence[Guess], key: Key) -> float:
    """Return the share of intervals that hold, each widened by what the other folds ask for."""
    held = 0
    for fold in {key(each.observation) for each in guesses}:
        factor = widening([each for each in guesses if key(each.observation) != fold])
        own = [each for each in guesses if key(each.observation) == fold]
        held += sum(abs(each.log_error) <= Z_80 * factor * each.sigma for each in own)
    return held / len(guesses)


def _class_of(stack: Stack) -> tuple[str, str | None]:
    """Return the generation and the kernel class; one where there are no kernels of its own."""
    if stack.kernel != "low-bit" and not has_own_kernels(stack.gpu):
        return stack.gpu.generation, "portable"
    return stack.gpu.generation, stack.kernel
