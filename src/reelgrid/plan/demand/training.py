"""What it takes to train the models of a scenario, and when serving has cost as much.

Not here: training itself (the room `train`).
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from reelgrid.errors import RequestError
from reelgrid.plan.demand.outcome import Totals, TrainingOutcome
from reelgrid.plan.demand.throughput import Facts, public_price_usd_per_h
from reelgrid.plan.facts.hardware import Gpu, find_gpu
from reelgrid.plan.scenario import Scenario, Training
from reelgrid.plan.uncertainty import Draws, Quantity, Values

N = TypeVar("N", float, Draws)

FLOP_A_PARAM_AND_TOKEN = 6.0
"""Two forward, four backward: Kaplan et al. 2020, arXiv:2001.08361, section 2.1."""


def training_gpu_hours(flop: N, *, tflops: float, utilisation: N) -> N:
    """Return hours of one GPU.

    Args:
        flop: Of the whole run.
        tflops: What the GPU could do, dense.
        utilisation: Share of it that is reached.
    """
    return flop / (tflops * 1e12 * 3600 * utilisation)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """One `[[training]]` of a scenario, its GPU and price known."""

    run: Training
    gpu: Gpu
    usd_per_h: Quantity

    @property
    def inputs(self) -> dict[str, Quantity]:
        """What its cost and time depend on, by name."""
        keys = ("flop", "params", "tokens", "gpu_hours", "utilisation", "days", "num_gpus")
        given = {key: getattr(self.run, key) for key in keys}
        known = {self.input(key): value for key, value in given.items() if value is not None}
        return known | {self.input("usd_per_h"): self.usd_per_h}

    def input(self, key: str) -> str:
        """Return the name of one of its inputs."""
        return f"training.{self.run.name}.{key}"

    def gpu_hours(self, values: Values) -> Draws:
        """Return hours of one GPU."""
        if self.run.gpu_hours is not None:
            return values[self.input("gpu_hours")]
        flop = (
            values[self.input("flop")]
            if self.run.flop is not None
            else FLOP_A_PARAM_AND_TOKEN
            * values[self.input("params")]
            * values[self.input("tokens")]
        )
        return training_gpu_hours(
            flop, tflops=self.gpu.dense_tflops, utilisation=values[self.input("utilisation")]
        )


def training_runs(scenario: Scenario, facts: Facts) -> tuple[TrainingRun, ...]:
    """Return the trainings of a scenario.

    Raises:
        RequestError: A GPU is not known, or has no price.
    """
    return tuple(_course(scenario, facts, index) for index in range(len(scenario.training)))


def _course(scenario: Scenario, facts: Facts, index: int) -> TrainingRun:
    run, place = scenario.training[index], scenario.location / "training" / index
    try:
        gpu = find_gpu(run.gpu, facts.hardware)
    except RequestError as error:
        raise (place / "gpu").error(str(error)) from None
    price = run.usd_per_h or public_price_usd_per_h(gpu)
    if price is None:
        raise place.error(f"expected the key 'usd_per_h': no public price of {gpu.name} is known")
    return TrainingRun(run=run, gpu=gpu, usd_per_h=price)


def training_outcome(
    course: TrainingRun, totals: Totals[Draws], pue: Draws, values: Values
) -> TrainingOutcome[Draws]:
    """Return what a training takes, beside what the demand costs to serve.

    Serving is counted at the fleet that follows demand, per minute that is made.
    """
    gpu_hours = course.gpu_hours(values)
    if course.run.days is not None:
        days = values[course.input("days")]
        num_gpus = gpu_hours / (days * 24)
    else:
        num_gpus = values[course.input("num_gpus")]
        days = gpu_hours / (num_gpus * 24)
    usd = gpu_hours * values[course.input("usd_per_h")]
    usd_per_minute_made = (
        totals.usd_per_minute_following * totals.minutes_kept_per_day / totals.minutes_made_per_day
    )
    minutes = usd / usd_per_minute_made
    return TrainingOutcome(
        gpu_hours=gpu_hours,
        num_gpus=num_gpus,
        days=np.asarray(days),
        usd=usd,
        mwh=gpu_hours * course.gpu.tdp_w * pue / 1e6,
        break_even_minutes_made=minutes,
        break_even_days=minutes / totals.minutes_made_per_day,
    )
