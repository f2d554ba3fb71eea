"""What it takes to train the models of a scenario, and when serving has cost as much."""

from dataclasses import dataclass
from typing import TypeVar

from reelgrid.plan.demand.inputs import inputs_in, optional_input
from reelgrid.plan.demand.outcome import Totals, TrainingOutcome
from reelgrid.plan.demand.throughput import public_price_usd_per_h
from reelgrid.plan.facts.hardware import Gpu, find_gpu
from reelgrid.plan.facts.known import Facts
from reelgrid.plan.scenario.values import Scenario
from reelgrid.plan.uncertainty import Draws, Input, Values
from reelgrid.units import HOURS_PER_DAY
from reelgrid.user_files.checking import find_at

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
class TrainingInputs:
    """What the cost and time of one training depend on; `None` is what the file does not give."""

    flop: Input | None
    params: Input | None
    tokens: Input | None
    gpu_hours: Input | None
    utilisation: Input | None
    days: Input | None
    num_gpus: Input | None
    usd_per_h: Input


_OPTIONAL_INPUTS = ("flop", "params", "tokens", "gpu_hours", "utilisation", "days", "num_gpus")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """One `[[training]]` of a scenario, its GPU known and its inputs named."""

    name: str
    gpu: Gpu
    known: TrainingInputs

    @property
    def inputs(self) -> list[Input]:
        """What its cost and time depend on."""
        return list(inputs_in(self.known))

    def gpu_hours(self, values: Values) -> Draws:
        """Return hours of one GPU."""
        known = self.known
        if known.gpu_hours:
            return values[known.gpu_hours]
        assert known.utilisation  # `Training` checks what has to be given together
        if known.flop:
            flop = values[known.flop]
        else:
            assert known.params
            assert known.tokens
            flop = FLOP_A_PARAM_AND_TOKEN * values[known.params] * values[known.tokens]
        return training_gpu_hours(
            flop, tflops=self.gpu.dense_tflops, utilisation=values[known.utilisation]
        )

    def gpus_and_days(self, gpu_hours: Draws, values: Values) -> tuple[Draws, Draws]:
        """Return how many GPUs train for how many days: one is given, the other follows."""
        if self.known.days:
            days = values[self.known.days]
            return gpu_hours / (days * HOURS_PER_DAY), days
        assert self.known.num_gpus
        num_gpus = values[self.known.num_gpus]
        return num_gpus, gpu_hours / (num_gpus * HOURS_PER_DAY)


def training_runs(scenario: Scenario, facts: Facts) -> tuple[TrainingRun, ...]:
    """Return the trainings of a scenario.

    Raises:
        RequestError: A GPU is not known, or has no price.
    """
    return tuple(_training_run(scenario, facts, index) for index in range(len(scenario.training)))


def _training_run(scenario: Scenario, facts: Facts, index: int) -> TrainingRun:
    run, location = scenario.training[index], scenario.location / "training" / index
    gpu = find_at(location / "gpu", find_gpu, run.gpu, facts.hardware)
    price = run.usd_per_h or public_price_usd_per_h(gpu)
    if price is None:
        raise location.error(
            f"expected the key 'usd_per_h': no public price of {gpu.name} is known"
        )
    name = f"training.{run.name}"
    optional = {key: optional_input(f"{name}.{key}", getattr(run, key)) for key in _OPTIONAL_INPUTS}
    known = TrainingInputs(**optional, usd_per_h=Input(f"{name}.usd_per_h", price))
    return TrainingRun(name=run.name, gpu=gpu, known=known)


def training_outcome(
    run: TrainingRun, totals: Totals[Draws], pue: Draws, values: Values
) -> TrainingOutcome[Draws]:
    """Return what a training takes, beside what the demand costs to serve.

    Serving is counted at the fleet that follows demand, per minute that is made.
    """
    gpu_hours = run.gpu_hours(values)
    num_gpus, days = run.gpus_and_days(gpu_hours, values)
    usd = gpu_hours * values[run.known.usd_per_h]
    usd_per_minute_made = (
        totals.usd_per_minute_following * totals.minutes_kept_per_day / totals.minutes_made_per_day
    )
    minutes = usd / usd_per_minute_made
    return TrainingOutcome(
        gpu_hours=gpu_hours,
        num_gpus=num_gpus,
        days=days,
        usd=usd,
        mwh=gpu_hours * run.gpu.tdp_w * pue / 1e6,
        break_even_minutes_made=minutes,
        break_even_days=minutes / totals.minutes_made_per_day,
    )
