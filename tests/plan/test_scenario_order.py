import pytest

from reelgrid.plan.scenario_order import read_demand
from tests.plan.offering import FACTS

SCENARIO = """
name = "two clips"
[[platforms]]
name = "site"
minutes_per_day = 480
share_made_by_ai = 0.5
clips_per_kept = 3
peak_to_mean = 2
[[platforms.clips]]
model = "wan2.1-t2v-1.3b"
share = 0.75
size = "832x480"
clip_s = 5.0625
steps = 30
[[platforms.clips]]
model = "wan2.2-t2v-a14b"
share = 0.25
[[hardware]]
gpu = "H100 SXM"
utilisation = 0.8
"""


def test_a_scenario_wants_its_likely_minutes_at_peak(tmp_path):
    path = tmp_path / "scenario.toml"
    path.write_text(SCENARIO, encoding="utf-8")
    order = read_demand(path, FACTS)
    first, second = order.workloads
    assert order.title == "two clips"
    assert first.minutes_per_h == pytest.approx(480 * 0.5 * 3 * 2 / 24 * 0.75)
    assert second.minutes_per_h == pytest.approx(480 * 0.5 * 3 * 2 / 24 * 0.25)
    assert first.mean_to_peak == pytest.approx(0.5)
    assert (first.num_frames, first.num_steps, str(first.size)) == (81, 30, "832x480")
    assert (second.num_frames, second.size) == (None, None)
