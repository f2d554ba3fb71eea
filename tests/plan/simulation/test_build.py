import math
from dataclasses import replace
from pathlib import Path

import pytest

from reelgrid.errors import RequestError
from reelgrid.jobs.policy import Priority
from reelgrid.plan.facts.known import shipped_facts
from reelgrid.plan.scenario.values import read_scenario
from reelgrid.plan.simulation import build
from reelgrid.plan.simulation.config import NodePool, SimulationConfig
from reelgrid.plan.simulation.experiment import FOREVER_US, US
from reelgrid.plan.simulation.run import compare

EXAMPLES = sorted((Path(__file__).parents[3] / "examples" / "scenarios").glob("*.toml"))
SCENARIO = """
name = "a shop"
[[platforms]]
name = "shop"
minutes_per_day = 240
share_made_by_ai = 0.5
clips_per_kept = 2
peak_to_mean = 3
[[platforms.clips]]
model = "own"
clip_s = 6
share = 0.75
work_cv = 0.5
[[platforms.clips]]
model = "other"
clip_s = 12
share = 0.25
[[hardware]]
gpu = "H100 SXM"
share = 0.5
utilisation = 0.5
usd_per_h = 2.5
[[hardware]]
gpu = "RTX 4090"
share = 0.5
utilisation = 0.5
gpus_per_clip = 2
[[speeds]]
model = "own"
gpu = "H100 SXM"
seconds_per_clip = 30
[[speeds]]
model = "own"
gpu = "RTX 4090"
seconds_per_clip = 75
[[speeds]]
model = "other"
gpu = "H100 SXM"
seconds_per_clip = 100
[[speeds]]
model = "other"
gpu = "RTX 4090"
seconds_per_clip = 200
[simulation]
hours = 12
checkpoint_s = 2
efficiency = 0.5
[[simulation.nodes]]
gpu = "H100 SXM"
count = 5
num_zones = 2
hazard_per_h = 0.25
load_s = 7
[[simulation.nodes]]
gpu = "4090"
count = 3
is_trusted = false
usd_per_h = 0.3
memory_gib = 20
[[simulation.jobs]]
platform = "shop"
low = 0.2
normal = 0.5
high = 0.3
private_share = 0.1
num_owners = 9
deadline_s = 900
"""


@pytest.fixture
def scenario(tmp_path):
    def read(text=SCENARIO):
        path = tmp_path / "scenario.toml"
        path.write_text(text, encoding="utf-8")
        return read_scenario(path)

    return read


def built(scenario):
    return build.experiment_of(scenario, build.read_simulation(scenario), shipped_facts())


def test_the_demand_of_a_scenario_becomes_streams_with_the_same_sum(scenario):
    streams = built(scenario()).streams
    per_day = {
        model: sum(sum(s.jobs_per_h) for s in streams if s.model == model)
        for model in ("own", "other")
    }
    assert per_day["own"] == pytest.approx(240 * 0.5 * 2 * 0.75 * 60 / 6)
    assert per_day["other"] == pytest.approx(240 * 0.5 * 2 * 0.25 * 60 / 12)
    shares = {
        priority: sum(sum(s.jobs_per_h) for s in streams if s.priority is priority)
        / sum(per_day.values())
        for priority in Priority
    }
    assert shares == pytest.approx({Priority.LOW: 0.2, Priority.NORMAL: 0.5, Priority.HIGH: 0.3})
    private = sum(sum(s.jobs_per_h) for s in streams if s.needs_trust)
    assert private == pytest.approx(0.1 * sum(per_day.values()))
    assert {s.num_owners for s in streams} == {9}
    assert {s.deadline_us for s in streams} == {900 * US}
    sigma = {s.work_sigma for s in streams if s.model == "own"}.pop()
    assert math.expm1(sigma**2) == pytest.approx(0.25)


def test_speeds_become_work_and_time_factors_divided_by_efficiency(scenario):
    experiment = built(scenario())
    fast, slow = experiment.kinds
    for index, stream in enumerate(experiment.streams):
        is_own = stream.model == "own"
        assert stream.mean_work_us == (60 if is_own else 200) * US
        assert fast.time_factor[index] == 1
        assert slow.time_factor[index] == pytest.approx(2.5 if is_own else 2)
    assert (slow.is_trusted, slow.memory_gib, fast.load_us) == (False, 20, 7 * US)


def test_nodes_become_pools_zone_by_zone_with_daly_s_interval(scenario):
    pools = built(scenario()).pools
    assert [(pool.count, pool.num_gpus, pool.usd_per_h) for pool in pools] == [
        (2, 1, 2.5),
        (3, 1, 2.5),
        (3, 2, 0.3),
    ]
    assert pools[0].checkpoint_every_us == round(math.sqrt(2 * 2 * 4 * 3600) * US)
    assert pools[0].lifetime_scale_us == 4 * 3600 * US
    assert (pools[2].checkpoint_every_us, pools[2].lifetime_scale_us) == (0, float(FOREVER_US))


def test_daly_s_interval_is_that_of_the_facts():
    """With 3 s per checkpoint: 147 s at a mean lifetime of 1 h; 23 min at 92 h."""
    simulation = SimulationConfig(nodes=(NodePool(gpu="4090", count=1),), checkpoint_s=3)
    for mean_h, expected_s, tolerance_s in ((1, 147, 0.5), (92, 23 * 60, 35)):
        pool = NodePool(gpu="4090", count=1, hazard_per_h=1 / mean_h)
        assert simulation.checkpoint_interval_s(pool) == pytest.approx(expected_s, abs=tolerance_s)


@pytest.mark.parametrize("peak", [1.0, 1.3, 2.0, 5.0, 20.0])
def test_a_day_with_a_known_peak_only_has_that_peak_and_mean_one(scenario, peak):
    platform = replace(scenario().platforms[0], peak_to_mean=scenario().platforms[0].peak_to_mean)
    text = SCENARIO.replace("peak_to_mean = 3", f"peak_to_mean = {peak}")
    platform = scenario(text).platforms[0]
    hours = build.demand_by_hour(platform)
    assert max(hours) == pytest.approx(peak)
    assert math.fsum(hours) / len(hours) == pytest.approx(1)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[simulation]\nhours = 12", "[simulation]\nhours = 0", r":45: .*hours.*above 0"),
        ("count = 5", "count = 0", r"nodes.*count.*from 1 to"),
        ("load_s = 7", "lod_s = 7", r"unknown key 'lod_s': did you mean 'load_s'"),
        ("load_s = 7", "weibull_shape = 0.6", r"weibull_shape and weibull_scale_h together"),
        ("num_zones = 2", "num_zones = 9", r"at most one zone a node, got 9"),
        ('platform = "shop"', 'platform = "shp"', r"expected the name of a platform \(shop\)"),
        ('gpu = "4090"', 'gpu = "A100 80GB SXM"', r"expected a GPU of \[\[hardware\]\]"),
        ("low = 0.2", "low = 0.4", r"add up to 1, got 1.2"),
        ("count = 5", 'count = "many"', r"count"),
    ],
)
def test_a_bad_simulation_part_says_line_key_and_what_was_expected(scenario, old, new, message):
    assert old in SCENARIO
    with pytest.raises(RequestError, match=message) as caught:
        built(scenario(SCENARIO.replace(old, new)))
    assert "\n" not in str(caught.value)
    assert "scenario.toml:" in str(caught.value)


def test_a_scenario_without_a_simulation_says_so(scenario):
    text = SCENARIO.partition("[simulation]")[0]
    with pytest.raises(RequestError, match=r"expected a table \[simulation\]"):
        built(scenario(text))


def test_private_jobs_without_a_trusted_node_are_refused(scenario):
    text = SCENARIO.replace("load_s = 7", "load_s = 7\nis_trusted = false")
    with pytest.raises(RequestError, match="no node of the fleet can run"):
        built(scenario(text))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_run(path):
    scenario = read_scenario(path)
    simulation = build.read_simulation(scenario)
    is_large = simulation.nodes[0].count > 1_000
    nodes = tuple(replace(nodes, count=min(nodes.count, 72)) for nodes in simulation.nodes)
    simulation = replace(simulation, nodes=nodes, hours=0.002 if is_large else 1.0)
    experiment = build.experiment_of(scenario, simulation, shipped_facts())
    comparison = compare(experiment, num_runs=2, engine="reference")
    assert comparison.with_checkpoints.num_jobs > 0
    assert comparison.with_checkpoints.figures["usd"].value > 0
