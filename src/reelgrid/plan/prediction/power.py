"""Energy of a generation, from the power limit of the GPUs and the share of time they are busy.

A board draws a share of its limit that grows with the share of time in which it computes at full
load. The two coefficients are fitted to the 483 ML.ENERGY measurements, all on H100s; other boards
are assumed to be alike, with a larger uncertainty. Host, cooling and idle machines are not counted.
"""

import functools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reelgrid.plan import facts
from reelgrid.plan.prediction.observations import Observation

OTHER_BOARD_SIGMA = 0.1
"""Standard deviation of the logarithm of the power of a board that was never measured: an assumption."""


@dataclass(frozen=True, slots=True)
class Power:
    """Share of the power limit that is drawn: `idle + (busy - idle) * load`.

    Attributes:
        idle: Share with the GPU in use but without matrix products, as while decoding.
        busy: Share with the denoising network at work all the time on one GPU.
        sigma: Standard deviation of the residuals, of the logarithm of the power.
        boards: Names of the fitted boards.
    """

    idle: float
    busy: float
    sigma: float
    boards: tuple[str, ...]

    def watts(self, tdp_w: float, num_gpus: int, load: float) -> float:
        """Return the mean power of all boards.

        Args:
            tdp_w: Power limit of one board.
            num_gpus: Number of boards.
            load: Share of the time in which a GPU computes at full load, 0 to 1.
        """
        return tdp_w * num_gpus * (self.idle + (self.busy - self.idle) * load)

    def sigma_of(self, board: str) -> float:
        """Return the standard deviation of the logarithm of the power of a board."""
        return self.sigma if board in self.boards else math.hypot(self.sigma, OTHER_BOARD_SIGMA)


@functools.cache
def read_power() -> Power:
    """Return the fit of the package."""
    filed = json.loads(facts.read_text("calibration.json"))["power"]
    return Power(**{**filed, "boards": tuple(filed["boards"])})


def fit_power(observations: Sequence[Observation]) -> Power:
    """Return the fit to observations with energy, by least squares of the share of the limit.

    The load of several GPUs is the time of one GPU over theirs: while they wait for each other they
    do not compute.

    Args:
        observations: Measured batches; those without energy are left out.
    """
    alone = {
        (each.workload.model.name, each.workload.num_images): each.seconds
        for each in observations
        if each.stack.num_gpus == 1
    }
    loads, shares = [], []
    for each in observations:
        key = (each.workload.model.name, each.workload.num_images)
        if each.wh is None or key not in alone:
            continue
        gpus = each.stack.num_gpus
        loads.append(min(1.0, alone[key] / (each.seconds * gpus)))
        shares.append(each.wh * 3600 / each.seconds / (each.stack.gpu.tdp_w * gpus))
    load, share = np.array(loads), np.array(shares)
    slopes, _, _, _ = np.linalg.lstsq(np.stack([1 - load, load], axis=1), share, rcond=None)
    fitted = slopes[0] * (1 - load) + slopes[1] * load
    return Power(
        idle=float(slopes[0]),
        busy=float(slopes[1]),
        sigma=float(np.std(np.log(share / fitted))),
        boards=tuple(sorted({each.stack.gpu.name for each in observations if each.wh})),
    )
