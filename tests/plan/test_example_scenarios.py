"""The example scenarios give the results that they state."""

import functools
from pathlib import Path

import pytest

from reelgrid.plan.demand.model import DemandAnswer, answer_demand
from reelgrid.plan.facts.known import shipped_facts
from reelgrid.plan.scenario.values import read_scenario
from reelgrid.plan.simulation.build import experiment_of, read_simulation
from reelgrid.plan.simulation.run import compare

FOLDER = Path(__file__).parents[2] / "examples" / "scenarios"
FILES = sorted(FOLDER.glob("*.toml"))


@functools.cache
def answer_of(path: Path) -> DemandAnswer:
    return answer_demand(read_scenario(path), shipped_facts(), num_draws=2_000)


def test_there_are_three():
    assert [path.stem for path in FILES] == [
        "sora-report", "startup-consumer-gpus", "studio-40-artists",
    ]  # fmt: skip


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_has_an_answer_with_an_interval(path):
    found = answer_of(path)
    totals = found.intervals.totals
    assert 0 < totals.gpus_held.low < totals.gpus_held.likely < totals.gpus_held.high
    assert totals.usd_per_minute_held.low > 0
    assert found.gpus_depend_on[0].total > 0.1
    assert found.scenario.sources
    assert found.scenario.description


def test_the_likely_case_of_the_report_is_its_printed_result():
    """10.7M x 2 x 2 / (24 x 5 x 50 %) = 713,333: the report rounds 89k to 90k before, to 720k."""
    found = answer_of(FOLDER / "sora-report.toml").likely
    assert found.totals.minutes_kept_per_day == pytest.approx(10.7e6, rel=1e-9)
    assert found.totals.gpus_at_peak == pytest.approx(713_333, abs=1)
    assert found.totals.gpus_held == 713_334


def test_the_reports_training_spans_the_reports_h100s():
    found = answer_of(FOLDER / "sora-report.toml")
    assert found.likely.training["Sora"].num_gpus == pytest.approx((4211 * 10528) ** 0.5, rel=0.01)
    spread = found.intervals.training["Sora"].num_gpus
    assert spread.low > 4_211
    assert spread.high < 10_528


def test_the_studio_needs_tens_of_cards_and_the_start_up_about_a_hundred():
    studio = answer_of(FOLDER / "studio-40-artists.toml").intervals.totals.gpus_held
    startup = answer_of(FOLDER / "startup-consumer-gpus.toml").intervals.totals.gpus_held
    assert 10 < studio.likely < 100
    assert 30 < startup.likely < 300


@pytest.mark.parametrize("name", ["startup-consumer-gpus", "studio-40-artists"])
def test_the_fleet_that_demand_counts_keeps_its_promise_when_it_is_simulated(name):
    """With the GPUs of `plan demand`, the simulation keeps the promise at the same price per minute."""
    scenario, facts = read_scenario(FOLDER / f"{name}.toml"), shipped_facts()
    assert scenario.promise is not None
    counted = answer_of(FOLDER / f"{name}.toml").likely.totals
    experiment = experiment_of(scenario, read_simulation(scenario), facts)
    leased = sum(pool.count * pool.num_gpus for pool in experiment.pools)
    assert leased == pytest.approx(counted.gpus_held, rel=0.2)
    found = compare(
        experiment, num_runs=2, also_without_checkpoints=False, promise_s=scenario.promise.wait_s
    ).with_checkpoints
    assert found.figures["within_promise_share"].value >= scenario.promise.share
    kinds = answer_of(FOLDER / f"{name}.toml").likely.kinds.values()
    usd_per_day = sum(kind.gpus_held * kind.usd_per_h for kind in kinds) * 24  # without energy
    expected = usd_per_day / counted.minutes_kept_per_day * leased / counted.gpus_held
    assert found.figures["usd_per_minute_published"].value == pytest.approx(expected, rel=0.1)
