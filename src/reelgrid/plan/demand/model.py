"""From a scenario to GPUs, money, energy and time, each with its 80 % interval.

Everything is computed for many draws of the inputs at once, and once more with every input at its
likely value.
"""

import importlib.util
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reelgrid.errors import RequestError
from reelgrid.plan.demand.inputs import DemandInputs, demand_inputs
from reelgrid.plan.demand.outcome import GrowthMonth, KindOutcome, Outcome, Totals, each_figure
from reelgrid.plan.demand.pools import GpuPool, gpu_pool, kept_minutes, whole_gpus
from reelgrid.plan.demand.throughput import Throughput, ThroughputKey, throughputs
from reelgrid.plan.demand.training import TrainingRun, training_outcome, training_runs
from reelgrid.plan.facts.hardware import Gpu
from reelgrid.plan.facts.known import Facts
from reelgrid.plan.scenario.values import Scenario
from reelgrid.plan.uncertainty import (
    Draws,
    Influence,
    Input,
    Interval,
    Listener,
    Quantity,
    Values,
    draw,
    influences,
    interval,
    likely,
)
from reelgrid.units import DAYS_PER_MONTH, HOURS_PER_MONTH

NUM_DRAWS = 10_000
MIN_DRAWS, MAX_DRAWS = 100, 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandAnswer:
    """What a scenario takes, how sure that is, and what it depends on.

    Attributes:
        scenario: What was asked.
        throughputs: What each kind of clip takes on each kind of GPU.
        intervals: 10th, 50th and 90th percentile.
        likely: With every input at its likely value.
        gpus_depend_on: Inputs by their influence on the GPUs of the held fleet.
        usd_depends_on: Inputs by their influence on the cost per published minute, held.
        inputs: All inputs by name.
        held_percentiles: GPUs of the held fleet, 1st to 99th percentile.
    """

    scenario: Scenario
    throughputs: Mapping[ThroughputKey, Throughput]
    intervals: Outcome[Interval]
    likely: Outcome[float]
    gpus_depend_on: tuple[Influence, ...]
    usd_depends_on: tuple[Influence, ...]
    inputs: Mapping[str, Quantity]
    held_percentiles: tuple[float, ...]
    seed: int
    num_draws: int


def answer_demand(
    scenario: Scenario,
    facts: Facts,
    *,
    seed: int = 0,
    num_draws: int = NUM_DRAWS,
    listener: Listener | None = None,
) -> DemandAnswer:
    """Return what a scenario takes; the same seed gives the same answer.

    Args:
        scenario: From `read_scenario`.
        facts: What is known of GPUs and models.
        seed: Of the draws, 0 to 2**63 - 1.
        num_draws: 100 to 100,000.
        listener: Called after each input whose influence is computed.

    Raises:
        RequestError: A model, a GPU or a price of the scenario is not known, its numbers do not
            go together, `seed` or `num_draws` is out of range, or SciPy is not installed.
    """
    _check_draws(seed, num_draws)
    _check_scipy()
    model = DemandModel.of(scenario, facts)
    outcome = each_figure(model.outcome(draw(model.inputs, num_draws, seed)), _finite)
    gpus_depend_on, usd_depends_on = influences(
        model.serving_inputs, model.held, seed=seed, listener=listener
    )
    percentiles = np.quantile(outcome.totals.gpus_held, np.arange(1, 100) / 100)
    return DemandAnswer(
        scenario=scenario,
        throughputs=model.throughputs,
        intervals=each_figure(outcome, interval),
        likely=each_figure(model.outcome(likely(model.inputs)), lambda draws: float(draws[0])),
        gpus_depend_on=gpus_depend_on,
        usd_depends_on=usd_depends_on,
        inputs={each.name: each.quantity for each in model.inputs},
        held_percentiles=tuple(map(float, percentiles)),
        seed=seed,
        num_draws=num_draws,
    )


def held_gpus(scenario: Scenario, facts: Facts) -> int:
    """Return the GPUs of the held fleet, every input at its likely value.

    Raises:
        RequestError: As `answer_demand` does.
    """
    _check_scipy()
    model = DemandModel.of(scenario, facts)
    gpus, _ = model.held(likely(model.inputs))
    return round(float(gpus[0]))


def _check_draws(seed: int, num_draws: int) -> None:
    if not MIN_DRAWS <= num_draws <= MAX_DRAWS:
        raise RequestError(
            f"draws {num_draws:,} is out of range: {MIN_DRAWS:,} to {MAX_DRAWS:,}", param="draws"
        )
    if not 0 <= seed < 2**63:
        raise RequestError(f"seed {seed} is out of range: 0 to 2**63 - 1", param="seed")


def _check_scipy() -> None:
    if importlib.util.find_spec("scipy") is None:
        raise RequestError('plan demand needs SciPy: pip install "reelgrid[plan]"')


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandModel:
    """A scenario as a function from values of its inputs to its outcome.

    Attributes:
        kinds: Names of the kinds of GPUs, in the order of the scenario.
        known: The inputs that the scenario names, by field.
    """

    scenario: Scenario
    throughputs: Mapping[ThroughputKey, Throughput]
    kinds: tuple[str, ...]
    training: tuple[TrainingRun, ...]
    known: DemandInputs

    @classmethod
    def of(cls, scenario: Scenario, facts: Facts) -> "DemandModel":
        """Return the model of a scenario.

        Raises:
            RequestError: A model, a GPU or a price of the scenario is not known.
        """
        made = throughputs(scenario, facts)
        gpus = [made[0, 0, k].gpu for k in range(len(scenario.hardware))]
        return cls(
            scenario=scenario,
            throughputs=made,
            kinds=tuple(_kind_names(scenario, gpus)),
            training=training_runs(scenario, facts),
            known=demand_inputs(scenario, gpus),
        )

    @property
    def serving_inputs(self) -> tuple[Input, ...]:
        """What serving depends on, each once."""
        of_speeds = (each for made in self.throughputs.values() for each in made.inputs)
        return tuple(dict.fromkeys((*self.known.serving, *of_speeds)))

    @property
    def inputs(self) -> tuple[Input, ...]:
        """What serving, growth and training depend on, each once."""
        of_training = (each for run in self.training for each in run.inputs)
        growth = self.known.growth_per_month
        return tuple(dict.fromkeys((*self.serving_inputs, *growth, *of_training)))

    def held(self, values: Values) -> tuple[Draws, Draws]:
        """Return the GPUs of the held fleet and its cost per published minute, in every draw."""
        month = _Evaluation(self, values).month(0)
        return month.gpus_held, month.usd_per_minute_held

    def outcome(self, values: Values) -> Outcome[Draws]:
        """Return everything, in every draw."""
        return _Evaluation(self, values).outcome()


class _Evaluation:
    """A model at given values of its inputs."""

    def __init__(self, model: DemandModel, values: Values) -> None:
        self.scenario, self.known, self.values = model.scenario, model.known, values
        self.kinds, self.training = model.kinds, model.training
        self.pools = [
            gpu_pool(model.scenario, model.known, model.throughputs, k, values)
            for k in range(len(model.kinds))
        ]
        self.kept = [kept_minutes(platform, values) for platform in model.known.platforms]
        self.pue = values[model.known.pue]

    def outcome(self) -> Outcome[Draws]:
        kinds = {name: self._kind(index) for index, name in enumerate(self.kinds)}
        totals = self._totals(list(kinds.values()))
        return Outcome(
            totals=totals,
            kinds=kinds,
            training={
                run.name: training_outcome(run, totals, self.pue, self.values)
                for run in self.training
            },
            months=tuple(self._months()),
        )

    def _months(self) -> Iterator[GrowthMonth[Draws]]:
        """Yield this month, and those to come where something grows."""
        for number in range(1 + self.scenario.growth.months * self.scenario.is_growing):
            try:
                yield self.month(number)
            except RequestError as error:
                where = self.scenario.location / "growth"
                raise where.error(f"after {number} months {error}") from None

    def month(self, number: int) -> GrowthMonth[Draws]:
        """Return what the demand takes once it has grown for so many months."""
        if number:
            rates = [self.values[each] for each in self.known.growth_per_month]
            growth = np.stack([(1 + rate) ** number for rate in rates])
        else:
            growth = np.ones((len(self.kept), 1))
        kept = _sum(minutes * factor for minutes, factor in zip(self.kept, growth, strict=True))
        grown = [part.grown(growth) for part in self.pools]
        held = [whole_gpus(part.at_peak()) for part in grown]
        usd = self._usd_per_month(grown, held)
        return GrowthMonth(
            minutes_kept_per_day=kept,
            gpus_held=_sum(held),
            usd_per_month_held=usd,
            usd_per_minute_held=usd / (kept * DAYS_PER_MONTH),
        )

    def _kind(self, index: int) -> KindOutcome[Draws]:
        part, idle_w = self.pools[index], self.values[self.known.hardware[index].idle_w]
        at_peak = part.at_peak()
        held = whole_gpus(at_peak)
        peak_w = (part.watts_at_peak + _idle(held, part.busy_at_peak) * idle_w) * self.pue
        return KindOutcome(
            minutes_per_gpu_hour=part.minutes_per_gpu_hour,
            gpus_at_mean=part.at_mean(),
            gpus_at_peak=at_peak,
            gpus_held=held,
            gpus_at_mean_by_averages=part.at_mean_by_averages(),
            gpus_at_peak_by_averages=part.at_peak_by_averages(),
            busy_share_held=part.busy_at_mean / held,
            usd_per_h=self.values[self.known.usd_per_h[index]],
            usd_per_month_held=self._usd_of_kind(index, part, held),
            kw_at_peak=peak_w / 1e3,
            mwh_per_month=self._mwh_per_month(index, part, held),
        )

    def _mwh_per_month(self, index: int, part: GpuPool, gpus: Draws) -> Draws:
        """Return the energy of the site if so many GPUs are leased at the mean."""
        idle_w = self.values[self.known.hardware[index].idle_w]
        watts = (part.watts_at_mean + _idle(gpus, part.busy_at_mean) * idle_w) * self.pue
        return watts * HOURS_PER_MONTH / 1e6

    def _usd_of_kind(self, index: int, part: GpuPool, gpus: Draws) -> Draws:
        """Return the cost of a month, energy included, if so many GPUs are leased at the mean."""
        usd = gpus * self.values[self.known.usd_per_h[index]] * HOURS_PER_MONTH
        if self.known.usd_per_kwh is None:
            return usd
        kwh = self._mwh_per_month(index, part, gpus) * 1e3
        return usd + kwh * self.values[self.known.usd_per_kwh]

    def _usd_per_month(self, pools: Sequence[GpuPool], gpus: Iterable[Draws]) -> Draws:
        """Return the cost of a month of so many GPUs of each kind."""
        pairs = enumerate(zip(pools, gpus, strict=True))
        return _sum(self._usd_of_kind(index, part, count) for index, (part, count) in pairs)

    def _totals(self, kinds: Sequence[KindOutcome[Draws]]) -> Totals[Draws]:
        made = _sum(
            kept * self.values[platform.clips_per_kept]
            for kept, platform in zip(self.kept, self.known.platforms, strict=True)
        )
        kept, mwh = _sum(self.kept), _sum(kind.mwh_per_month for kind in kinds)
        kept_per_month = kept * DAYS_PER_MONTH
        held_usd = _sum(kind.usd_per_month_held for kind in kinds)
        following_usd = self._usd_per_month(self.pools, (kind.gpus_at_mean for kind in kinds))
        emissions = self.known.kg_co2_per_kwh
        return Totals(
            minutes_kept_per_day=kept,
            minutes_made_per_day=made,
            gpus_at_mean=_sum(kind.gpus_at_mean for kind in kinds),
            gpus_at_peak=_sum(kind.gpus_at_peak for kind in kinds),
            gpus_held=_sum(kind.gpus_held for kind in kinds),
            gpus_at_mean_by_averages=_sum(kind.gpus_at_mean_by_averages for kind in kinds),
            gpus_at_peak_by_averages=_sum(kind.gpus_at_peak_by_averages for kind in kinds),
            usd_per_month_following=following_usd,
            usd_per_month_held=held_usd,
            usd_per_minute_following=following_usd / kept_per_month,
            usd_per_minute_held=held_usd / kept_per_month,
            kw_at_peak=_sum(kind.kw_at_peak for kind in kinds),
            mwh_per_month=mwh,
            wh_per_minute=mwh * 1e6 / kept_per_month,
            kg_co2_per_month=mwh * 1e3 * (self.values[emissions] if emissions else 0.0),
        )


def _kind_names(scenario: Scenario, gpus: Sequence[Gpu]) -> list[str]:
    names = [gpu.name for gpu in gpus]
    return [
        name if names.count(name) == 1 else f"{name} {part.kernel or ''}".strip()
        for name, part in zip(names, scenario.hardware, strict=True)
    ]


def _idle(gpus: Draws, busy: Draws) -> Draws:
    return np.maximum(gpus - busy, 0.0)


def _finite(draws: Draws) -> Draws:
    """Return the draws, if they are numbers.

    Raises:
        RequestError: They are not: the inputs are too large or too small for one another.
    """
    if not np.all(np.isfinite(draws)):
        raise RequestError("the numbers of the scenario are too large or small to go together")
    return draws


def _sum(parts: Iterable[Draws]) -> Draws:
    return np.asarray(np.sum(list(parts), axis=0))
