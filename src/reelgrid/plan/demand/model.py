"""From a scenario to GPUs, money, energy and time, each with its doubt.

Everything is computed for many draws of the inputs at once, and once more with every input at its
likely value. Not here: how many GPUs a demand takes (`pools`), what a clip takes (`throughput`),
training (`training`), which offers to lease (`solve`), and fleets that lose nodes (`simulation`).
"""

import importlib.util
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from reelgrid.errors import RequestError
from reelgrid.plan.demand.outcome import GrowthMonth, KindOutcome, Outcome, Totals, each_figure
from reelgrid.plan.demand.pools import (
    Pool,
    demand_inputs,
    hardware_input,
    kept_minutes,
    pool,
    whole,
)
from reelgrid.plan.demand.throughput import (
    Facts,
    Throughput,
    ThroughputKey,
    price_usd_per_h,
    throughputs,
)
from reelgrid.plan.demand.training import TrainingRun, training_outcome, training_runs
from reelgrid.plan.facts.hardware import Gpu
from reelgrid.plan.scenario import Platform, Scenario
from reelgrid.plan.uncertainty import (
    Draws,
    Influence,
    Inputs,
    Interval,
    Listener,
    Quantity,
    Values,
    draw,
    influences,
    interval,
    likely,
)

DAYS_A_MONTH = 365.25 / 12
HOURS_A_MONTH = DAYS_A_MONTH * 24
NUM_DRAWS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DemandAnswer:
    """What a scenario takes, how sure that is, and what it hangs on.

    Attributes:
        scenario: What was asked.
        served: What each kind of clip takes on each kind of GPU.
        intervals: 10th, 50th and 90th percentile.
        likely: With every input at its likely value.
        gpus_hang_on: Inputs by their influence on the GPUs of the held fleet.
        usd_hangs_on: Inputs by their influence on the cost per published minute, held.
        inputs: All inputs by name.
        held_percentiles: GPUs of the held fleet, 1st to 99th percentile.
    """

    scenario: Scenario
    served: Mapping[ThroughputKey, Throughput]
    intervals: Outcome[Interval]
    likely: Outcome[float]
    gpus_hang_on: tuple[Influence, ...]
    usd_hangs_on: tuple[Influence, ...]
    inputs: Inputs
    held_percentiles: tuple[float, ...]
    seed: int
    num_draws: int


def answer(
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
        facts: What is known.
        seed: Of the draws.
        num_draws: How many.
        listener: Told how far it is.

    Raises:
        RequestError: A model, a GPU or a price of the scenario is not known, its numbers do not
            go together, or SciPy is not installed.
    """
    _check_scipy()
    model = Model.of(scenario, facts)
    outcome = each_figure(model.outcome(draw(model.inputs, num_draws, seed)), _computed)

    gpus_hang_on, usd_hangs_on = influences(
        model.serving_inputs, model.held, seed=seed, listener=listener
    )
    return DemandAnswer(
        scenario=scenario,
        served=model.served,
        intervals=each_figure(outcome, interval),
        likely=each_figure(model.outcome(likely(model.inputs)), lambda draws: float(draws[0])),
        gpus_hang_on=gpus_hang_on,
        usd_hangs_on=usd_hangs_on,
        inputs=model.inputs,
        held_percentiles=_percentiles(outcome.totals.gpus_held),
        seed=seed,
        num_draws=num_draws,
    )


def held_gpus(scenario: Scenario, facts: Facts) -> int:
    """Return the GPUs of the held fleet, every input at its likely value.

    Raises:
        RequestError: As `answer` does.
    """
    _check_scipy()
    model = Model.of(scenario, facts)
    gpus, _ = model.held(likely(model.inputs))
    return round(float(gpus[0]))


def _check_scipy() -> None:
    if importlib.util.find_spec("scipy") is None:
        raise RequestError('doubt and queueing need SciPy: pip install "reelgrid[plan]"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A scenario as a function from values of its inputs to its outcome.

    Attributes:
        kinds: Names of the kinds of GPUs, in the order of the scenario.
        serving_inputs: What serving depends on.
        inputs: Those, and what training and growth depend on.
    """

    scenario: Scenario
    served: Mapping[ThroughputKey, Throughput]
    kinds: tuple[str, ...]
    training_runs: tuple[TrainingRun, ...]
    serving_inputs: Inputs
    inputs: Inputs

    @classmethod
    def of(cls, scenario: Scenario, facts: Facts) -> "Model":
        """Return the model of a scenario.

        Raises:
            RequestError: A model, a GPU or a price of the scenario is not known.
        """
        served = throughputs(scenario, facts)
        gpus = [served[0, 0, k].gpu for k in range(len(scenario.hardware))]
        serving = demand_inputs(scenario) | _money_inputs(scenario, gpus)
        for service in served.values():
            serving |= service.inputs
        runs = training_runs(scenario, facts)
        inputs = serving | _growth_inputs(scenario)
        for run in runs:
            inputs |= run.inputs
        return cls(
            scenario=scenario,
            served=served,
            kinds=tuple(_kind_names(scenario, gpus)),
            training_runs=runs,
            serving_inputs=serving,
            inputs=inputs,
        )

    def held(self, values: Values) -> tuple[Draws, Draws]:
        """Return the GPUs of the held fleet and its cost per published minute, in every draw."""
        as_now = np.ones((len(self.scenario.platforms), 1))
        month = self._month(as_now, self._pools(values), values)
        return month.gpus_held, month.usd_per_minute_held

    def outcome(self, values: Values) -> Outcome[Draws]:
        """Return everything, in every draw."""
        pools = self._pools(values)
        kinds = self._by_kind(values, pools)
        totals = self._totals(values, kinds, self._following_usd(values, pools, kinds))
        pue = values["energy.pue"]
        return Outcome(
            totals=totals,
            kinds=kinds,
            training={
                run.run.name: training_outcome(run, totals, pue, values)
                for run in self.training_runs
            },
            months=tuple(self._months(pools, values)),
        )

    def _months(self, pools: list[Pool], values: Values) -> Iterator[GrowthMonth[Draws]]:
        """Yield this month, and those to come where something grows."""
        for number in range(1 + self.scenario.growth.months * self.scenario.is_growing):
            try:
                yield self._month(self._growth(number, values), pools, values)
            except RequestError as error:
                where = self.scenario.location / "growth"
                raise where.error(f"after {number} months {error}") from None

    def _pools(self, values: Values) -> list[Pool]:
        return [pool(self.scenario, self.served, k, values) for k in range(len(self.kinds))]

    def _input(self, index: int, key: str, values: Values) -> Draws:
        part = self.scenario.hardware[index]
        return values[f"{hardware_input(self.scenario, part.gpu, part.kernel)}.{key}"]

    def _by_kind(self, values: Values, pools: list[Pool]) -> dict[str, KindOutcome[Draws]]:
        return {
            name: self._kind(index, values, pools[index]) for index, name in enumerate(self.kinds)
        }

    def _kind(self, index: int, values: Values, part: Pool) -> KindOutcome[Draws]:
        idle_w, pue = self._input(index, "idle_w", values), values["energy.pue"]
        at_peak = part.at_peak()
        held = whole(at_peak)
        peak_w = _site_w(part.watts_at_peak, held - part.busy_at_peak, idle_w, pue)
        return KindOutcome(
            minutes_per_gpu_hour=part.minutes_per_gpu_hour,
            gpus_at_mean=part.at_mean(),
            gpus_at_peak=at_peak,
            gpus_held=held,
            gpus_at_mean_by_averages=part.at_mean_by_averages(),
            gpus_at_peak_by_averages=part.at_peak_by_averages(),
            busy_share_held=part.busy_at_mean / held,
            usd_per_h=self._input(index, "usd_per_h", values),
            usd_per_month_held=self._usd_per_month(index, values, part, held),
            kw_at_peak=peak_w / 1e3,
            mwh_per_month=self._mwh_per_month(index, values, part, held),
        )

    def _mwh_per_month(self, index: int, values: Values, part: Pool, gpus: Draws) -> Draws:
        """Return the energy of the site if so many GPUs are leased at the mean."""
        idle_w = self._input(index, "idle_w", values)
        watts = _site_w(part.watts_at_mean, gpus - part.busy_at_mean, idle_w, values["energy.pue"])
        return watts * HOURS_A_MONTH / 1e6

    def _usd_per_month(self, index: int, values: Values, part: Pool, gpus: Draws) -> Draws:
        """Return the cost of a month, energy included, if so many GPUs are leased at the mean."""
        energy = _usd_of_energy(self._mwh_per_month(index, values, part, gpus), values)
        return gpus * self._input(index, "usd_per_h", values) * HOURS_A_MONTH + energy

    def _totals(
        self, values: Values, kinds: Mapping[str, KindOutcome[Draws]], following_usd: Draws
    ) -> Totals[Draws]:
        platforms = self.scenario.platforms
        kept = _sum(kept_minutes(platform, values) for platform in platforms)
        made = _sum(
            kept_minutes(platform, values) * values[f"{platform.name}.clips_per_kept"]
            for platform in platforms
        )

        def over_kinds(key: str) -> Draws:
            return _sum(getattr(kind, key) for kind in kinds.values())

        held_usd, mwh = over_kinds("usd_per_month_held"), over_kinds("mwh_per_month")
        kept_per_month = kept * DAYS_A_MONTH
        emissions = values.get("energy.kg_co2_per_kwh", np.zeros_like(mwh))
        return Totals(
            minutes_kept_per_day=kept,
            minutes_made_per_day=made,
            gpus_at_mean=over_kinds("gpus_at_mean"),
            gpus_at_peak=over_kinds("gpus_at_peak"),
            gpus_held=over_kinds("gpus_held"),
            gpus_at_mean_by_averages=over_kinds("gpus_at_mean_by_averages"),
            gpus_at_peak_by_averages=over_kinds("gpus_at_peak_by_averages"),
            usd_per_month_following=following_usd,
            usd_per_month_held=held_usd,
            usd_per_minute_following=following_usd / kept_per_month,
            usd_per_minute_held=held_usd / kept_per_month,
            kw_at_peak=over_kinds("kw_at_peak"),
            mwh_per_month=mwh,
            wh_per_minute=mwh * 1e6 / kept_per_month,
            kg_co2_per_month=mwh * 1e3 * emissions,
        )

    def _following_usd(
        self, values: Values, pools: list[Pool], kinds: Mapping[str, KindOutcome[Draws]]
    ) -> Draws:
        """Return the cost of a month if the GPUs leased follow the demand."""
        return _sum(
            self._usd_per_month(index, values, pools[index], kind.gpus_at_mean)
            for index, kind in enumerate(kinds.values())
        )

    def _growth(self, num_months: int, values: Values) -> Draws:
        """Return by how much the demand of each platform has grown: platforms by draws."""
        platforms = self.scenario.platforms
        return np.stack([(1 + values[_growth_input(each)]) ** num_months for each in platforms])

    def _month(self, growth: Draws, pools: list[Pool], values: Values) -> GrowthMonth[Draws]:
        """Return what the demand of each platform times `growth` takes."""
        kept = _sum(
            kept_minutes(platform, values) * factor
            for platform, factor in zip(self.scenario.platforms, growth, strict=True)
        )
        grown = [part.grown(growth) for part in pools]
        held = [whole(part.at_peak()) for part in grown]
        usd = _sum(
            self._usd_per_month(index, values, part, gpus)
            for index, (part, gpus) in enumerate(zip(grown, held, strict=True))
        )
        return GrowthMonth(
            minutes_kept_per_day=kept,
            gpus_held=_sum(held),
            usd_per_month_held=usd,
            usd_per_minute_held=usd / (kept * DAYS_A_MONTH),
        )


def _kind_names(scenario: Scenario, gpus: list[Gpu]) -> list[str]:
    names = [gpu.name for gpu in gpus]
    return [
        name if names.count(name) == 1 else f"{name} {part.kernel or ''}".strip()
        for name, part in zip(names, scenario.hardware, strict=True)
    ]


def _money_inputs(scenario: Scenario, gpus: list[Gpu]) -> dict[str, Quantity]:
    """Return prices, and what stands behind the GPUs, by name.

    Raises:
        RequestError: A GPU has no price, neither in the scenario nor in public.
    """
    inputs: dict[str, Quantity] = {}
    for index, (part, gpu) in enumerate(zip(scenario.hardware, gpus, strict=True)):
        price = price_usd_per_h(part, gpu)
        if price is None:
            raise (scenario.location / "hardware" / index).error(
                f"expected the key 'usd_per_h': no public price of {gpu.name} is known"
            )
        inputs[f"{hardware_input(scenario, part.gpu, part.kernel)}.usd_per_h"] = price
    energy = scenario.energy
    inputs["energy.pue"] = energy.pue
    if energy.usd_per_kwh is not None:
        inputs["energy.usd_per_kwh"] = energy.usd_per_kwh
    if energy.kg_co2_per_kwh is not None:
        inputs["energy.kg_co2_per_kwh"] = energy.kg_co2_per_kwh
    return inputs


def _growth_inputs(scenario: Scenario) -> dict[str, Quantity]:
    return {_growth_input(each): scenario.growth_of(each) for each in scenario.platforms}


def _growth_input(platform: Platform) -> str:
    if platform.growth_per_month is None:
        return "growth.per_month"
    return f"{platform.name}.growth_per_month"


def _site_w(working_w: Draws, num_idle: Draws, idle_w: Draws, pue: Draws) -> Draws:
    return (working_w + np.maximum(num_idle, 0.0) * idle_w) * pue


def _usd_of_energy(mwh: Draws, values: Values) -> Draws:
    return mwh * 1e3 * values.get("energy.usd_per_kwh", np.zeros_like(mwh))


def _computed(draws: Draws) -> Draws:
    """Return the draws, if they are numbers.

    Raises:
        RequestError: They are not: the inputs are too large or too small for one another.
    """
    if not np.all(np.isfinite(draws)):
        raise RequestError("the numbers of the scenario are too large or small to go together")
    return draws


def _percentiles(draws: Draws) -> tuple[float, ...]:
    return tuple(float(value) for value in np.quantile(draws, np.arange(1, 100) / 100))


def _sum(parts: Iterable[Draws]) -> Draws:
    return np.asarray(np.sum(list(parts), axis=0))
