import pytest

from reelgrid.errors import RequestError
from reelgrid.plan.offers.demand import read_demand
from tests.plan.offer_examples import FACTS

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


def test_the_demand_of_a_scenario_is_its_likely_minutes_at_peak(tmp_path):
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


def test_a_speed_of_the_scenario_overrides_the_prediction(tmp_path):
    path = tmp_path / "scenario.toml"
    speed = '[[speeds]]\nmodel = "wan2.1-t2v-1.3b"\ngpu = "h100"\nseconds_per_clip = 50.625\n'
    path.write_text(SCENARIO + speed, encoding="utf-8")
    first, second = read_demand(path, FACTS).workloads
    assert first.minutes_per_gpu_hour == pytest.approx({"H100 SXM": 6.0})
    assert second.minutes_per_gpu_hour == {}


def test_a_model_without_a_known_need_of_memory_is_refused_at_its_line(tmp_path):
    path = tmp_path / "scenario.toml"
    text = SCENARIO.replace('wan2.2-t2v-a14b"', 'own"\nclip_s = 5')
    speed = '[[speeds]]\nmodel = "own"\ngpu = "h100"\nseconds_per_clip = 50\n'
    path.write_text(text + speed, encoding="utf-8")
    with pytest.raises(
        RequestError, match=r"scenario\.toml:16: .*no architecture is known of 'own'"
    ):
        read_demand(path, FACTS)
