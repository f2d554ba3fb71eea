"""What was fitted of the formula: coefficients with their covariance, and times with their doubt.

Every coefficient has a prior and a posterior (`fit`); effects of GPUs and software that
were never seen are 0 with the spread of those that were. Not here: the formula itself
(`formula`), the fit, and what a user sees (`predict`).
"""

import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from reelgrid.plan import facts
from reelgrid.plan.facts.hardware import Gpu
from reelgrid.plan.prediction.formula import (
    Array,
    Case,
    Design,
    fused_share,
    gradient,
    pinned_share,
)
from reelgrid.plan.prediction.observations import KernelClass

_FILED = ("generations", "tau", "sigma", "widening", "widening_untold", "native_share", "date")


@dataclass(frozen=True, slots=True)
class Calibration:
    """Coefficients with their covariance, by name; `gpu:` and `software:` begin those of effects.

    Attributes:
        names: The structure's, then the effects'.
        mean: Posterior means, shape (n,).
        covariance: Posterior covariance, shape (n, n).
        generations: Of the GPUs that were fitted; one of another has twice the variance of a GPU.
        tau: Spreads of effects by kind: `gpu` on the logistic scale; of the logarithm of seconds
            `software`, `source` and `image_source` (who measured video and images), `parallel`
            (how well work is parted, for each doubling of GPUs), `streamed` (weights every step).
        sigma: Spread of what is left, of the logarithm of seconds.
        widening: Intervals are made wider by this factor, so that they cover what they claim.
        widening_untold: Likewise where neither kernel nor software is known.
        native_share: By model, and by software as in `software:xdit`, how much of what was published
            on GPUs with kernels of their own ran with those; under `""` the share of all.
        date: When it was fitted.
    """

    names: tuple[str, ...]
    mean: Array
    covariance: Array
    generations: Sequence[str]
    tau: Mapping[str, float]
    sigma: float
    widening: float
    widening_untold: float
    native_share: Mapping[str, float]
    date: str

    def time(self, case: Case) -> tuple[float, float]:
        """Return the logarithm of the seconds and its standard deviation.

        An attention kernel that is not known is portable or native with the chances that published
        runs of the software have, or of the model where the software is not known either.
        """
        log_s, sigma = self._mixed_time(case)
        is_told = case.stack.kernel is not None or case.stack.software is not None
        return log_s, sigma * (self.widening if is_told else self.widening_untold)

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

    def _time(self, case: Case) -> tuple[float, float]:
        design = Design.of([case], self.names)
        log_s, slopes = gradient(self.mean, design)
        variance = float(slopes[0] @ self.covariance @ slopes[0]) + self.sigma**2
        if not self.knows(f"gpu:{case.stack.gpu.fitted_as}"):
            kinds = 1 if case.stack.gpu.generation in self.generations else 2
            variance += kinds * (self.tau["gpu"] * design.gpu_slope(self.mean)) ** 2
        fused = fused_share(case.stack)
        variance += fused * (1 - fused) * design.gain_of_fusing(self.mean) ** 2
        pinned = pinned_share(case.stack)
        variance += pinned * (1 - pinned) * design.gain_of_pinning(self.mean) ** 2
        variance += self._setup_variance(case)
        return float(log_s[0]), math.sqrt(variance)

    def _native_share(self, case: Case) -> float:
        """Return how likely native kernels are where it is not said."""
        for key in (f"software:{case.stack.software}", case.workload.model.name):
            if key in self.native_share:
                return self.native_share[key]
        return self.native_share[""]

    def _setup_variance(self, case: Case) -> float:
        """Return what machines, engines and who measures differ by, of the logarithm squared."""
        stack = case.stack
        variance = self.tau[case.source_effect] ** 2
        variance += (self.tau[case.parallel_effect] * math.log2(stack.num_gpus)) ** 2
        if stack.software is None or not self.knows(f"software:{stack.software}"):
            variance += self.tau["software"] ** 2
        if stack.offload == "steps":
            variance += self.tau["streamed"] ** 2
        return variance


@functools.cache
def read_calibration() -> Calibration:
    """Return the fit that is filed with the package."""
    filed = json.loads(facts.read_text("calibration.json"))
    return Calibration(
        names=tuple(filed["names"]),
        mean=np.array(filed["mean"]),
        covariance=np.array(filed["covariance"]),
        **{key: filed[key] for key in _FILED},
    )


def has_own_kernels(gpu: Gpu) -> bool:
    """Return whether attention kernels written for Ampere leave much of this GPU idle."""
    return gpu.generation in {"hopper", "hopper-cut", "blackwell"}


def _with_kernel(case: Case, kernel: KernelClass) -> Case:
    return replace(case, stack=replace(case.stack, kernel=kernel))
