"""Fit of the formula to measured latencies: a hierarchical model, by empirical Bayes.

Every coefficient has a normal prior. Effects of GPUs, software and groups of observations have a
normal prior around 0 whose spread is estimated (EM on a Laplace approximation; Gelman et al.,
"Bayesian Data Analysis", 3rd ed., 2013, sections 5.4 and 13.6). Residuals follow Student's t with
four degrees of freedom, so that a wrong published figure has little weight. There is no
randomness: the same observations give the same fit. `cross_validation` measures how good it is.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from reelgrid.plan.facts.hardware import Gpu, read_hardware
from reelgrid.plan.prediction.calibration import OWN_SOURCE, Calibration, has_own_kernels
from reelgrid.plan.prediction.formula import (
    STRUCTURE,
    Array,
    Case,
    Design,
    gpu_inputs,
    gradient,
    stack_inputs,
)
from reelgrid.plan.prediction.observations import Observation, Stack, read_latencies, read_ml_energy
from reelgrid.plan.prediction.power import Power

_ROUNDS = 25
_NEWTON_STEPS_FIRST = 12
_NEWTON_STEPS = 3
_LONGEST_STEP = 0.5
_DIGITS = 4
_FREEDOM = 4.0
_T_OVER_NORMAL = 1.5332 / 1.2816  # 90th percentiles of Student's t with four degrees and normal

_FILED_KINDS = (
    "gpu",
    "software",
    "source",
    "image_source",
    "parallel",
    "image_parallel",
    "streamed",
)
_KINDS = (*_FILED_KINDS, "group")
_OF_OBSERVATIONS = (
    "group:", "source:", "image_source:", "parallel:", "image_parallel:", "streamed:",
)  # fmt: skip
_SPREADS = {
    "gpu": (0.4, 6.0),
    "software": (0.1, 4.0),
    "group": (0.12, 6.0),
    "within": (0.05, 6.0),
    "source": (0.08, 4.0),
    "image_source": (0.25, 4.0),
    "parallel": (0.06, 4.0),
    "image_parallel": (0.15, 4.0),
    "streamed": (0.2, 4.0),
}
"""Prior of each spread, and the number of effects that it weighs as (an inverse gamma prior): without
it, spreads of a handful of effects come out too small. Images were published by two sources only;
0.25 is the spread of five engines with one video model."""


@dataclass(frozen=True, slots=True)
class _Spread:
    """Standard deviations of effects and residuals, while they are estimated.

    Attributes:
        tau: Of the effects by kind; `group` is also that of the residual of an observation without
            a group.
        within: Of the residuals within one group.
    """

    tau: Mapping[str, float]
    within: float

    def residual(self, is_grouped: npt.NDArray[np.bool_]) -> Array:
        """Return the standard deviation of the residual of each observation, shape (m,)."""
        return np.where(is_grouped, self.within, self.tau["group"])


def training_set() -> tuple[Observation, ...]:
    """Return the observations that the package's calibration is fitted to.

    These are the published latencies and, of the 483 rows of ML.ENERGY, for each model and number of
    GPUs the fastest split of the work with a batch of one. Linear attention is left out: the formula
    does not model its kernels.
    """
    best: dict[tuple[str, int], Observation] = {}
    for each in read_ml_energy():
        work = each.workload
        if work.num_images == 1 and work.model.attention != "linear":
            key = (work.model.name, each.stack.num_gpus)
            best[key] = min(best.get(key, each), each, key=lambda one: one.seconds)
    return (*read_latencies(), *best.values())


def fit(
    observations: Sequence[Observation],
    *,
    date: str,
    widening: float = 1.0,
    widening_unspecified: float = 1.0,
) -> Calibration:
    """Return the calibration that fits observations.

    The effect of the source `OWN_SOURCE`, the user's own measurements, is kept; those of other
    sources only serve the fit.

    Args:
        observations: Measured latencies; at least one.
        date: Date of the fit.
        widening: Factor on intervals, from `cross_validation.widening`.
        widening_unspecified: The same where neither kernel nor software is given.
    """
    names = _names(observations)
    x, covariance, spread = _posterior(observations, names)
    kept = np.array([_is_kept(name) for name in names])
    calibration = Calibration(
        names=tuple(name for name in names if _is_kept(name)),
        mean=x[kept],
        covariance=covariance[np.ix_(kept, kept)],
        generations=sorted({each.stack.gpu.generation for each in observations}),
        tau={kind: spread.tau[kind] for kind in _FILED_KINDS},
        sigma=spread.tau["group"] * _T_OVER_NORMAL,
        widening=widening,
        widening_unspecified=widening_unspecified,
        native_share=native_share(observations),
        date=date,
    )
    return with_monotone_rates(calibration, read_hardware().values())


def _posterior(
    observations: Sequence[Observation], names: Sequence[str]
) -> tuple[Array, Array, _Spread]:
    """Return the posterior mode of the coefficients, their covariance, and the spreads, by EM."""
    design = Design.of([case_of(each) for each in observations], names)
    y = np.log([each.seconds for each in observations])
    prior_mean = np.array([STRUCTURE[name][0] if name in STRUCTURE else 0.0 for name in names])
    spread = _Spread({kind: _SPREADS[kind][0] for kind in _KINDS}, _SPREADS["within"][0])
    x, covariance = prior_mean.copy(), np.eye(len(names))
    for round_ in range(_ROUNDS):
        variance = _prior_variance(names, spread)
        for _ in range(_NEWTON_STEPS if round_ else _NEWTON_STEPS_FIRST):
            x, covariance = _newton(x, design, y, prior_mean, variance, spread)
        spread = _estimated(x, covariance, design, y, spread)
    return x, covariance, spread


def _is_kept(name: str) -> bool:
    return not name.startswith(_OF_OBSERVATIONS) or name.split(":")[1] == OWN_SOURCE


def to_json(calibration: Calibration, power: Power, source: str) -> str:
    """Return the text of a calibration file, rounded so that it is the same on every machine.

    Args:
        calibration: The fit.
        power: The fit of the power of the boards.
        source: What made the fit from which data.
    """
    filed = {
        "date": calibration.date,
        "source": source,
        "generations": calibration.generations,
        "tau": {kind: round(tau, _DIGITS) for kind, tau in calibration.tau.items()},
        "sigma": round(calibration.sigma, _DIGITS),
        "widening": round(calibration.widening, _DIGITS),
        "widening_unspecified": round(calibration.widening_unspecified, _DIGITS),
        "native_share": {
            model: round(share, _DIGITS) for model, share in calibration.native_share.items()
        },
        "power": {
            "idle": round(power.idle, _DIGITS),
            "busy": round(power.busy, _DIGITS),
            "sigma": round(power.sigma, _DIGITS),
            "boards": power.boards,
        },
        "names": calibration.names,
        "mean": [round(float(each), _DIGITS) for each in calibration.mean],
        "covariance": [
            [round(float(each), _DIGITS + 2) for each in row] for row in calibration.covariance
        ],
    }
    lines = (f'"{key}": {json.dumps(value)}' for key, value in filed.items())
    return "{\n" + ",\n".join(lines).replace("], [", "],\n[") + "\n}\n"


def case_of(observation: Observation) -> Case:
    """Return the input of the formula for an observation."""
    stack = observation.stack
    return Case(
        observation.workload,
        stack,
        observation.is_whole,
        group=observation.group,
        setup=f"{observation.source_name} {stack.software} {observation.workload.model.name}",
        source=observation.source_name,
    )


def native_share(observations: Sequence[Observation]) -> dict[str, float]:
    """Return the share of observations that ran with the GPU's own kernels, by model and software.

    Only GPUs with kernels of their own count, and each group once. The share of all is found under
    `""`; every other share is shrunk to it, with the weight of two observations.
    """
    seen: dict[tuple[str, str, str], bool] = {}
    for each in observations:
        stack = each.stack
        if has_own_kernels(stack.gpu) and stack.kernel in {"portable", "native"}:
            model, software = each.workload.model.name, f"software:{stack.software}"
            seen[each.group or each.name, model, software] = stack.kernel == "native"
    overall = (sum(seen.values()) + 1) / (len(seen) + 2)
    own: dict[str, list[bool]] = {}
    for (_, model, software), is_native in seen.items():
        own.setdefault(model, []).append(is_native)
        if software != "software:None":
            own.setdefault(software, []).append(is_native)
    shares = {name: (sum(own[name]) + 2 * overall) / (len(own[name]) + 2) for name in sorted(own)}
    return {"": overall} | shares


def _names(observations: Sequence[Observation]) -> tuple[str, ...]:
    found: dict[str, set[str]] = {kind: set() for kind in _KINDS}
    for case in map(case_of, observations):
        stack = case.stack
        found["gpu"].add(stack.gpu.fitted_as)
        found[case.source_effect].add(str(case.source))
        if stack.software:
            found["software"].add(stack.software)
        if case.group:
            found["group"].add(case.group)
        if stack.num_gpus > 1:
            found[case.parallel_effect].add(str(case.setup))
        if stack.offload == "steps":
            found["streamed"].add(str(case.setup))
    effects = (f"{kind}:{name}" for kind, names in found.items() for name in sorted(names))
    return (*STRUCTURE, *effects)


def _prior_variance(names: Sequence[str], spread: _Spread) -> Array:
    return np.array(
        [
            STRUCTURE[name][1] ** 2 if name in STRUCTURE else spread.tau[name.split(":")[0]] ** 2
            for name in names
        ]
    )


def _weights(residual: Array, sigma: Array) -> Array:
    return np.asarray((_FREEDOM + 1) / (_FREEDOM + (residual / sigma) ** 2))


def _newton(
    x: Array, design: Design, y: Array, prior_mean: Array, prior_variance: Array, spread: _Spread
) -> tuple[Array, Array]:
    """Return the next point of a damped Gauss-Newton iteration and the Laplace covariance there."""
    at, slopes = gradient(x, design)
    sigma = spread.residual(design.effects["group"] >= 0)
    weights = _weights(y - at, sigma) / sigma**2
    curvature: Array = (slopes * weights[:, None]).T @ slopes + np.diag(1 / prior_variance)
    pull = (slopes * weights[:, None]).T @ (y - at) - (x - prior_mean) / prior_variance
    step = np.clip(np.linalg.solve(curvature, pull), -_LONGEST_STEP, _LONGEST_STEP)
    return np.asarray(x + step), np.asarray(np.linalg.inv(curvature))


def _estimated(x: Array, covariance: Array, design: Design, y: Array, spread: _Spread) -> _Spread:
    """Return the spreads that make the effects and residuals at hand most likely (the M step)."""
    at, slopes = gradient(x, design)
    grouped = design.effects["group"] >= 0
    explained = np.einsum("ij,jk,ik->i", slopes, covariance, slopes)
    squares = _weights(y - at, spread.residual(grouped)) * ((y - at) ** 2 + explained)
    found = {"group": [*squares[~grouped]], "within": [*squares[grouped]]}
    for index, name in enumerate(design.names):
        if ":" in name:
            square = x[index] ** 2 + covariance[index, index]
            found.setdefault(name.split(":")[0], []).append(square)
    estimated = {kind: _shrunk(kind, found.get(kind, ())) for kind in _SPREADS}
    return _Spread({kind: estimated[kind] for kind in _KINDS}, estimated["within"])


def _shrunk(kind: str, squares: Sequence[float]) -> float:
    """Return the root mean square of effects, shrunk to the prior of their kind."""
    prior, weight = _SPREADS[kind]
    return math.sqrt((weight * prior**2 + sum(squares)) / (weight + len(squares)))


def with_monotone_rates(calibration: Calibration, gpus: Iterable[Gpu]) -> Calibration:
    """Return the calibration with no GPU slower than a lesser one of its generation.

    A few published figures have a larger card behind a smaller one of the same generation. What goes
    wrong in a published run (heat, a slow host, streamed weights) makes it slow, never fast: the
    larger card is given the rate of the smaller one.
    """
    index_of = {name: index for index, name in enumerate(calibration.names)}
    mean = calibration.mean.copy()
    fitted = sorted(
        (gpu for gpu in gpus if gpu.fitted_as == gpu.name and f"gpu:{gpu.name}" in index_of),
        key=lambda gpu: gpu.dense_tflops,
    )
    for better in fitted:
        rates = [_log_rate(other, mean, index_of) for other in fitted if _surpasses(better, other)]
        if rates and max(rates) > _log_rate(better, mean, index_of):
            share = min(math.exp(max(rates)) / better.dense_tflops, 0.99)
            logit = math.log(share / (1 - share)) - _shared_logit(better, mean, index_of)
            mean[index_of[f"gpu:{better.name}"]] = logit
    return replace(calibration, mean=mean)


def _surpasses(one: Gpu, other: Gpu) -> bool:
    """Return whether a GPU has at least the rate and bandwidth of another of its generation."""
    return (
        one.name != other.name
        and (one.generation, one.kind) == (other.generation, other.kind)
        and one.dense_tflops >= other.dense_tflops
        and one.bandwidth_gb_per_s >= other.bandwidth_gb_per_s
    )


_RATE_INPUTS = (
    "power",
    "matmul",
    "portable_on_hopper",
    "portable_on_cut_hopper",
    "portable_on_blackwell",
)


def _shared_logit(gpu: Gpu, mean: Array, index_of: Mapping[str, int]) -> float:
    """Return the logit of the efficiency of portable attention, without the GPU's own effect.

    Portable attention is the least efficient part; a GPU that leads in it leads in all parts.
    """
    inputs = gpu_inputs(gpu) | stack_inputs(Stack(gpu=gpu, kernel="portable"))
    terms = (mean[index_of[name]] * inputs[name] for name in _RATE_INPUTS)
    return float(mean[index_of["attention"]] + sum(terms))


def _log_rate(gpu: Gpu, mean: Array, index_of: Mapping[str, int]) -> float:
    own_effect = float(mean[index_of[f"gpu:{gpu.name}"]])
    logit = _shared_logit(gpu, mean, index_of) + own_effect
    return math.log(gpu.dense_tflops) - math.log1p(math.exp(-logit))
