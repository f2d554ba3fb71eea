"""Order among GPUs: no fitted card slower than another of its make that it surpasses.

Not here: the fit whose rates are put in order (`calibration_fit`).
"""

import math
from collections.abc import Iterable
from dataclasses import replace

from reelgrid.plan.calibration import Calibration
from reelgrid.plan.calibration_formula import Array
from reelgrid.plan.hardware import Gpu


def in_order(calibration: Calibration, gpus: Iterable[Gpu]) -> Calibration:
    """Return the calibration with no GPU slower than another of its generation that it surpasses.

    A few published figures have a larger card behind a smaller one of the same make. What goes
    wrong in a published run (heat, a slow host, weights that are streamed) makes it slow, never
    fast: the larger card is given the rate of the smaller one.
    """
    place = {name: index for index, name in enumerate(calibration.names)}
    mean = calibration.mean.copy()
    seen = sorted(
        (gpu for gpu in gpus if gpu.chip == gpu.name and f"gpu:{gpu.name}" in place),
        key=lambda gpu: gpu.dense_tflops,
    )
    for better in seen:
        rates = [_log_rate(other, mean, place) for other in seen if _surpasses(better, other)]
        if rates and max(rates) > _log_rate(better, mean, place):
            _set_log_rate(better, max(rates), mean, place)
    return replace(calibration, mean=mean)


def _surpasses(one: Gpu, other: Gpu) -> bool:
    """Return whether one GPU has as much of everything as another of its generation and kind."""
    return (
        one.name != other.name
        and (one.generation, one.kind) == (other.generation, other.kind)
        and one.dense_tflops >= other.dense_tflops
        and one.bandwidth_gb_per_s >= other.bandwidth_gb_per_s
    )


def _z(gpu: Gpu, mean: Array, place: dict[str, int]) -> float:
    """Return the logit of portable attention without the GPU's own effect.

    Of all that is worked with it is the least efficient; where a GPU is ahead in it, it is in all.
    """
    power = math.log(gpu.tdp_w / gpu.dense_tflops / 0.9)
    measured = (gpu.best_measured_matmul_tflops or 0.0) / gpu.dense_tflops or 0.8
    penalty = {
        "hopper": "portable_on_hopper",
        "hopper-cut": "portable_on_cut_hopper",
        "blackwell": "portable_on_blackwell",
    }.get(gpu.generation)
    return float(
        mean[place["attention"]]
        + (mean[place[penalty]] if penalty else 0.0)
        + mean[place["power"]] * min(max(power, -1.2), 1.2)
        + mean[place["matmul"]] * 2 * math.log(measured / 0.8)
    )


def _log_rate(gpu: Gpu, mean: Array, place: dict[str, int]) -> float:
    logit = _z(gpu, mean, place) + float(mean[place[f"gpu:{gpu.name}"]])
    return math.log(gpu.dense_tflops) - math.log1p(math.exp(-logit))


def _set_log_rate(gpu: Gpu, log_rate: float, mean: Array, place: dict[str, int]) -> None:
    share = min(math.exp(log_rate) / gpu.dense_tflops, 0.99)
    mean[place[f"gpu:{gpu.name}"]] = math.log(share / (1 - share)) - _z(gpu, mean, place)
