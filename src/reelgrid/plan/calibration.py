"""What was fitted of the formula: coefficients with their covariance, and times with their doubt.

Every coefficient has a prior and a posterior (`calibration_fit`); effects of GPUs and software that
were never seen are 0 with the spread of those that were. Not here: the formula itself
(`calibration_formula`), the fit, and what a user sees (`predict`).
"""

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from reelgrid.plan import facts
from reelgrid.plan.calibration_formula import Array, Case, Design, gradient
from reelgrid.plan.hardware import Gpu
from reelgrid.plan.latencies import KernelClass

_FILED = ("tau_gpu", "tau_software", "sigma", "widening", "native_share", "date")


@dataclass(frozen=True, slots=True)
class Calibration:
    """Coefficients with their covariance, by name; `gpu:` and `software:` begin those of effects.

    Attributes:
        names: The structure's, then the effects'.
        mean: Posterior means, shape (n,).
        covariance: Posterior covariance, shape (n, n).
        tau_gpu: Spread of GPUs' effects, on the logistic scale.
        tau_software: Spread of software's effects, of the logarithm of seconds.
        sigma: Spread of what is left, of the logarithm of seconds.
        widening: Intervals are made wider by this factor, so that they cover what they claim.
        native_share: By model, how much of what was published of it on GPUs with kernels of their
            own ran with those; under `""` the share of all models.
        date: When it was fitted.
    """

    names: tuple[str, ...]
    mean: Array
    covariance: Array
    tau_gpu: float
    tau_software: float
    sigma: float
    widening: float
    native_share: Mapping[str, float]
    date: str

    def time(self, case: Case) -> tuple[float, float]:
        """Return the logarithm of the seconds and its standard deviation.

        An attention kernel that is not known is portable or native with the chances that published
        runs of the model have.
        """
        if case.stack.kernel is not None or not has_own_kernels(case.stack.gpu):
            return self._time(case)
        portable, sigma_portable = self._time(_with_kernel(case, "portable"))
        native, sigma_native = self._time(_with_kernel(case, "native"))
        share = self.native_share.get(case.workload.model.name, self.native_share[""])
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
        if not self.knows(f"gpu:{case.stack.gpu.name}"):
            variance += (self.tau_gpu * design.gpu_slope(self.mean)) ** 2
        if case.stack.software is None or not self.knows(f"software:{case.stack.software}"):
            variance += self.tau_software**2
        return float(log_s[0]), self.widening * math.sqrt(variance)


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
