"""Calibration of the formula: coefficients with their covariance, and times with their uncertainty.

`fit` finds the coefficients. The effect of a GPU or of software that was never fitted is 0, with
the spread of the effects that were.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from reelgrid.plan.facts import read_text
from reelgrid.plan.facts.hardware import Gpu
from reelgrid.plan.prediction.formula import (
    STRUCTURE,
    Array,
    Case,
    Design,
    fused_share,
    gradient,
    pinned_share,
)
from reelgrid.plan.prediction.observations import KernelClass
from reelgrid.user_files.checking import FieldError, parse
from reelgrid.user_files.reading import parse_json, read_json

OWN_SOURCE = "own"
"""Source of the user's own measurements; a calibration that knows it was refitted with them."""

_FILED = ("generations", "tau", "sigma", "widening", "widening_unspecified", "native_share", "date")


@dataclass(frozen=True, slots=True)
class Calibration:
    """Coefficients with their covariance, by name; `gpu:` and `software:` begin those of effects.

    Attributes:
        names: The structure's, then the effects'.
        mean: Posterior means, shape (n,).
        covariance: Posterior covariance, shape (n, n).
        generations: Those of the fitted GPUs; a GPU of another one has twice the variance.
        tau: Spreads of effects by kind: `gpu` on the logistic scale; of the logarithm of seconds
            `software`, `source` and `image_source` (who measured video and images), `parallel`
            (for each doubling of GPUs), `streamed` (weights read at every step).
        sigma: Spread of the residuals, of the logarithm of seconds.
        widening: Factor on intervals with which 80 % of left-out observations lie within them.
        widening_unspecified: The same where neither kernel nor software is given.
        native_share: By model, and by software as in `software:xdit`, the share of published runs
            with the GPU's own kernels, on GPUs that have some; under `""` the share of all.
        date: Day of the fit.
    """

    names: tuple[str, ...]
    mean: Array
    covariance: Array
    generations: Sequence[str]
    tau: Mapping[str, float]
    sigma: float
    widening: float
    widening_unspecified: float
    native_share: Mapping[str, float]
    date: str

    def time(self, case: Case) -> tuple[float, float]:
        """Return the logarithm of the seconds and its standard deviation.

        A kernel that is not given is portable or native with the shares that published runs of the
        software have, or of the model where the software is not given either.
        """
        log_s, sigma = self._mixed_time(case)
        is_given = case.stack.kernel is not None or case.stack.software is not None
        return log_s, sigma * (self.widening if is_given else self.widening_unspecified)

    def _mixed_time(self, case: Case) -> tuple[float, float]:
        if case.stack.kernel is not None or not has_own_kernels(case.stack.gpu):
            return self._time(case)
        portable, sigma_portable = self._time(_with_kernel(case, "portable"))
        native, sigma_native = self._time(_with_kernel(case, "native"))
        share = self._native_share(case)
        within = (1 - share) * sigma_portable**2 + share * sigma_native**2
        between = share * (1 - share) * (portable - native) ** 2
        return (1 - share) * portable + share * native, math.sqrt(within + between)

    def knows(self, effect: str) -> bool:
        """Return whether an effect such as `gpu:L40S` was fitted."""
        return effect in self.names

    @property
    def is_own(self) -> bool:
        """Whether the user's own measurements were fitted to."""
        return any(name.endswith(f"source:{OWN_SOURCE}") for name in self.names)

    def _time(self, case: Case) -> tuple[float, float]:
        design = Design.of([case], self.names)
        log_s, slopes = gradient(self.mean, design)
        variance = float(slopes[0] @ self.covariance @ slopes[0]) + self.sigma**2
        if not self.knows(f"gpu:{case.stack.gpu.fitted_as}"):
            num_effects = 1 if case.stack.gpu.generation in self.generations else 2
            variance += num_effects * (self.tau["gpu"] * design.gpu_slope(self.mean)) ** 2
        fused = fused_share(case.stack)
        variance += fused * (1 - fused) * design.gain(self.mean, "is_fused") ** 2
        pinned = pinned_share(case.stack)
        variance += pinned * (1 - pinned) * design.gain(self.mean, "is_pinned") ** 2
        variance += self._setup_variance(case)
        return float(log_s[0]), math.sqrt(variance)

    def _native_share(self, case: Case) -> float:
        """Return how likely native kernels are where the kernel is not given."""
        for key in (f"software:{case.stack.software}", case.workload.model.name):
            if key in self.native_share:
                return self.native_share[key]
        return self.native_share[""]

    def _setup_variance(self, case: Case) -> float:
        """Return the variance between sources, machines and software, of the logarithm of seconds."""
        stack = case.stack
        is_own = self.knows(f"{case.source_effect}:{case.source}")
        variance = 0.0 if is_own else self.tau[case.source_effect] ** 2
        variance += (self.tau[case.parallel_effect] * math.log2(stack.num_gpus)) ** 2
        if stack.software is None or not self.knows(f"software:{stack.software}"):
            variance += self.tau["software"] ** 2
        if stack.offload == "steps":
            variance += self.tau["streamed"] ** 2
        return variance


@dataclass(frozen=True, slots=True, kw_only=True)
class _CalibrationFile:
    """A calibration file, as `fit.to_json` writes it."""

    date: str
    source: str
    generations: tuple[str, ...]
    tau: dict[str, float]
    sigma: float
    widening: float
    widening_unspecified: float
    native_share: dict[str, float]
    power: dict[str, Any]
    names: tuple[str, ...]
    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if self.names[: len(STRUCTURE)] != tuple(STRUCTURE):
            raise FieldError(
                "expected the coefficients of this version's formula: run reelgrid plan calibrate",
                param="names",
            )
        if {len(self.mean), len(self.covariance), *map(len, self.covariance)} != {len(self.names)}:
            raise FieldError("expected a mean and a row of covariance for each name", param="mean")


def read_calibration(path: Path | None = None) -> Calibration:
    """Return the calibration of a file, parsed once for each version of it.

    Args:
        path: The file; by default the package's own.

    Raises:
        RequestError: The file cannot be read, or is not a calibration of this version's formula.
    """
    return _parsed(path, path.stat().st_mtime_ns if path is not None and path.exists() else 0)


@functools.lru_cache(maxsize=4)
def _parsed(path: Path | None, modified_ns: int) -> Calibration:
    name = "calibration.json"
    tables, root = parse_json(read_text(name), name) if path is None else read_json(path)
    filed = parse(_CalibrationFile, tables, root)
    return Calibration(
        names=filed.names,
        mean=np.array(filed.mean),
        covariance=np.array(filed.covariance),
        **{key: getattr(filed, key) for key in _FILED},
    )


def has_own_kernels(gpu: Gpu) -> bool:
    """Return whether attention kernels written for Ampere leave much of this GPU idle."""
    return gpu.generation in {"hopper", "hopper-cut", "blackwell"}


def _with_kernel(case: Case, kernel: KernelClass) -> Case:
    return replace(case, stack=replace(case.stack, kernel=kernel))
