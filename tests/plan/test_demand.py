"""Demand compared with calculations by hand, and properties that hold for all numbers."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelgrid.errors import RequestError
from reelgrid.plan.demand.model import DemandModel, answer_demand
from reelgrid.plan.demand.pools import gpus_needed
from reelgrid.plan.demand.queueing import servers_for_promise
from reelgrid.plan.demand.tables import as_json
from reelgrid.plan.demand.throughput import PredictedSpeed, throughputs
from reelgrid.plan.facts.hardware import find_gpu
from reelgrid.plan.facts.known import shipped_facts
from reelgrid.plan.prediction.predict import predict
from reelgrid.plan.prediction.workload import workload_of
from reelgrid.plan.uncertainty import likely
from tests.plan.scenarios import PLAIN, changed, scenario_of

FACTS = shipped_facts()
HOURS_A_MONTH = 730.5
DAYS_A_MONTH = 30.4375
PROMISE = "\n[promise]\nwait_s = 60\nshare = 0.95\n"
TRAINING = """
[[training]]
name = "t"
gpu = "H100 SXM"
flop = 1e24
utilisation = 0.4
days = 30
usd_per_h = 3
"""


def found(folder, text=PLAIN, seed=0, num_draws=500):
    return answer_demand(scenario_of(folder, text), FACTS, seed=seed, num_draws=num_draws)


def totals(folder, text=PLAIN):
    return found(folder, text, num_draws=100).likely.totals


def test_gpus_needed_is_the_formula_of_the_report():
    gpus = gpus_needed(
        10.7e6, candidates=2.0, peak_to_mean=2.0, minutes_per_gpu_hour=5.0, utilisation=0.5
    )
    assert gpus == pytest.approx(10.7e6 * 2 * 2 / (24 * 5 * 0.5))


def test_a_plain_scenario_gives_the_figures_computed_by_hand(tmp_path):
    """600 minutes kept, 1,200 made; 10 GPUs at work, 20 leased at the mean, 60 at peak, 2 $/h."""
    got = totals(tmp_path)
    assert got.minutes_kept_per_day == pytest.approx(600)
    assert got.minutes_made_per_day == pytest.approx(1200)
    assert got.gpus_at_mean == pytest.approx(20)
    assert got.gpus_at_peak == pytest.approx(60)
    assert got.gpus_held == pytest.approx(60)
    assert got.usd_per_month_following == pytest.approx(20 * 2 * HOURS_A_MONTH)
    assert got.usd_per_month_held == pytest.approx(60 * 2 * HOURS_A_MONTH)
    assert got.usd_per_minute_following == pytest.approx(1.6)
    assert got.usd_per_minute_held == pytest.approx(4.8)
    assert got.kw_at_peak == pytest.approx(30 * 0.7)
    assert got.mwh_per_month == pytest.approx(10 * 700 * HOURS_A_MONTH / 1e6)
    assert got.wh_per_minute == pytest.approx(10 * 700 * 24 / 600)


def test_all_percentiles_of_certain_inputs_are_equal(tmp_path):
    got = found(tmp_path)
    for key in ("gpus_at_mean", "gpus_at_peak", "usd_per_minute_held", "mwh_per_month"):
        spread = getattr(got.intervals.totals, key)
        plain = getattr(got.likely.totals, key)
        assert (spread.low, spread.likely, spread.high) == pytest.approx((plain,) * 3, rel=1e-12)
    assert got.gpus_depend_on == ()


def test_distributions_without_width_equal_plain_numbers(tmp_path):
    text = changed("= 1200", "= { low = 1200, likely = 1200, high = 1200 }")
    text = changed("clips_per_kept = 2", "clips_per_kept = { median = 2, sigma = 0 }", text)
    text = changed("minutes_per_gpu_hour = 5", "minutes_per_gpu_hour = {median=5,sigma=0}", text)
    assert found(tmp_path, text).intervals == found(tmp_path).intervals


UNCERTAIN = changed("= 1200", "= { low = 800, likely = 1200, high = 2000 }")
UNCERTAIN = changed("clips_per_kept = 2", "clips_per_kept = { median = 2, sigma = 0.4, at_least = 1 }",
                   UNCERTAIN)  # fmt: skip


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    first, second, other = (
        json.dumps(as_json(found(tmp_path, UNCERTAIN, seed=seed))) for seed in (3, 3, 4)
    )
    assert first == second
    assert first != other


@pytest.mark.parametrize("factor", [2, 10])
def test_twice_the_demand_takes_twice_the_gpus_in_every_case(tmp_path, factor):
    text = UNCERTAIN.replace("{ low = 800, likely = 1200, high = 2000 }",
                            f"{{ low = {800 * factor}, likely = {1200 * factor}, "
                            f"high = {2000 * factor} }}")  # fmt: skip
    assert text != UNCERTAIN
    once, more = found(tmp_path, UNCERTAIN).intervals, found(tmp_path, text).intervals
    for end in ("low", "likely", "high"):
        for key in ("gpus_at_mean", "gpus_at_peak", "usd_per_month_following", "mwh_per_month"):
            ratio = getattr(getattr(more.totals, key), end) / getattr(
                getattr(once.totals, key), end
            )
            assert ratio == pytest.approx(factor)
        same = getattr(more.totals.usd_per_minute_following, end)
        assert same == pytest.approx(getattr(once.totals.usd_per_minute_following, end))


@given(
    minutes=st.floats(1, 1e9),
    candidates=st.floats(1, 1e4),
    speed=st.floats(0.01, 1e3),
    utilisation=st.floats(0.01, 1),
    factor=st.floats(1.01, 100),
)
@settings(max_examples=50)
def test_gpus_grow_with_demand_and_fall_with_speed(minutes, candidates, speed, utilisation, factor):
    given_ = {"candidates": candidates, "peak_to_mean": 1.0, "utilisation": utilisation}
    base = gpus_needed(minutes, minutes_per_gpu_hour=speed, **given_)
    assert gpus_needed(minutes * factor, minutes_per_gpu_hour=speed, **given_) == pytest.approx(
        base * factor
    )
    assert gpus_needed(minutes, minutes_per_gpu_hour=speed * factor, **given_) == pytest.approx(
        base / factor
    )


def test_the_interval_of_one_log_normal_input_is_its_own(tmp_path):
    """One log-normal input alone: the interval is its own, times the rest."""
    text = changed(
        "clips_per_kept = 2", "clips_per_kept = { median = 20, sigma = 0.5 , at_least=1}"
    )
    got = found(tmp_path, text, num_draws=100_000).intervals.totals.gpus_at_mean
    spread = math.exp(0.5 * 1.2815515594600038)
    assert (got.low, got.likely, got.high) == pytest.approx(
        (200 / spread, 200, 200 * spread), rel=0.02
    )


def test_seconds_a_clip_say_the_same_as_minutes_per_gpu_hour(tmp_path):
    text = changed("minutes_per_gpu_hour = 5", "seconds_per_clip = 72")
    assert totals(tmp_path, text).gpus_at_mean == pytest.approx(20)
    pair = changed("power_w = 700", "power_w = 700\ngpus_per_clip = 2", text)
    assert totals(tmp_path, pair).gpus_at_mean == pytest.approx(40)


def test_two_halves_of_a_platform_take_what_the_whole_takes(tmp_path):
    block = PLAIN[PLAIN.index("[[platforms]]") : PLAIN.index("[[hardware]]")]
    half = block.replace("1200", "600")
    text = PLAIN.replace(block, half + half.replace('"one"', '"two"'))
    whole, parts = totals(tmp_path), totals(tmp_path, text)
    assert parts.gpus_at_peak == pytest.approx(whole.gpus_at_peak)
    assert parts.usd_per_month_held == pytest.approx(whole.usd_per_month_held)


def test_platforms_that_peak_at_different_hours_share_their_gpus(tmp_path):
    day, night = ([1] * 12 + [0] * 12), ([0] * 12 + [1] * 12)
    block = PLAIN[PLAIN.index("[[platforms]]") : PLAIN.index("[[hardware]]")]
    first = block.replace("peak_to_mean = 3", f"profile_by_hour = {day}")
    second = first.replace('"one"', '"two"').replace(str(day), str(night))
    alone = totals(tmp_path, PLAIN.replace(block, first))
    assert alone.gpus_at_peak == pytest.approx(2 * alone.gpus_at_mean)
    both = totals(tmp_path, PLAIN.replace(block, first + second))
    assert both.gpus_at_mean == pytest.approx(2 * alone.gpus_at_mean)
    assert both.gpus_at_peak == pytest.approx(both.gpus_at_mean)


def test_a_mix_of_clips_takes_the_sum_of_its_parts(tmp_path):
    """Half of the minutes at 5 a GPU-hour, half at 1: 5 + 25 GPUs at work."""
    text = changed("clip_s = 6", 'clip_s = 6\nshare = 0.5\n[[platforms.clips]]\nmodel = "slow"\n'
                   "share = 0.5\nclip_s = 10")  # fmt: skip
    text += '[[speeds]]\nmodel = "slow"\ngpu = "h100"\nminutes_per_gpu_hour = 1\n'
    got = found(tmp_path, text).likely
    assert got.totals.gpus_at_mean == pytest.approx((5 + 25) / 0.5)
    assert got.kinds["H100 SXM"].minutes_per_gpu_hour == pytest.approx(1200 / (24 * 30))


def test_shares_of_hardware_are_of_the_minutes(tmp_path):
    """A quarter of the minutes on a GPU of 1 a GPU-hour: 7.5 + 12.5 at work."""
    text = changed("power_w = 700", "power_w = 700\nshare = 0.75\n[[hardware]]\n"
                   'gpu = "RTX 4090"\nusd_per_h = 0.5\nutilisation = 1\nshare = 0.25')  # fmt: skip
    text += '[[speeds]]\nmodel = "given"\ngpu = "4090"\nminutes_per_gpu_hour = 1\n'
    kinds = found(tmp_path, text).likely.kinds
    assert kinds["H100 SXM"].gpus_at_mean == pytest.approx(7.5 / 0.5)
    assert kinds["RTX 4090"].gpus_at_mean == pytest.approx(12.5)
    assert kinds["RTX 4090"].usd_per_month_held == pytest.approx(38 * 0.5 * HOURS_A_MONTH)


def test_the_promise_is_kept_by_queueing_in_the_busiest_hour(tmp_path):
    """12,000 clips a day of 72 s each, three times that at peak."""
    text = changed("utilisation = 0.5", "utilisation = 0.5\navailability = 0.8") + PROMISE
    rate = 3 * 1200 * 10 / 86_400
    servers = servers_for_promise(rate, 72.0, 0.0, promise_s=60, share=0.95)
    assert totals(tmp_path, text).gpus_held == math.ceil(servers / 0.8)


def test_varying_clip_sizes_need_more_gpus_for_the_same_promise(tmp_path):
    text = changed("clip_s = 6", "clip_s = 6\nwork_cv = 2") + PROMISE
    rate = 3 * 1200 * 10 / 86_400
    servers = servers_for_promise(rate, 72.0, 4.0, promise_s=60, share=0.95)
    assert totals(tmp_path, text).gpus_held == servers
    assert servers > totals(tmp_path, PLAIN + PROMISE).gpus_held


def test_a_mix_of_sizes_waits_as_the_mixture_does(tmp_path):
    """Two kinds of clips, 6 s at 72 s and 12 s at 720 s of work, half of the minutes each."""
    text = changed("clip_s = 6", 'clip_s = 6\nshare = 0.5\n[[platforms.clips]]\nmodel = "slow"\n'
                   "share = 0.5\nclip_s = 12")  # fmt: skip
    text += '[[speeds]]\nmodel = "slow"\ngpu = "h100"\nminutes_per_gpu_hour = 1\n' + PROMISE
    rates = np.array([3 * 600 * 10 / 86_400, 3 * 600 * 5 / 86_400])
    seconds = np.array([72.0, 720.0])
    rate = rates.sum()
    mean_s = (rates * seconds).sum() / rate
    cv2 = (rates * seconds**2).sum() / rate / mean_s**2 - 1
    expected = servers_for_promise(rate, mean_s, cv2, promise_s=60, share=0.95)
    assert totals(tmp_path, text).gpus_held == expected


def test_the_strictest_promise_decides(tmp_path):
    block = PLAIN[PLAIN.index("[[platforms]]") : PLAIN.index("[[hardware]]")]
    second = block.replace('"one"', '"two"')
    loose = PLAIN.replace(block, block + second) + "\n[promise]\nwait_s = 3600\n"
    strict = loose.replace('name = "two"', 'name = "two"\npromise = { wait_s = 0, share = 0.99 }')
    all_strict = loose.replace("wait_s = 3600", "wait_s = 0\nshare = 0.99")
    assert totals(tmp_path, strict).gpus_held == totals(tmp_path, all_strict).gpus_held
    assert totals(tmp_path, strict).gpus_held > totals(tmp_path, loose).gpus_held


def test_growth_is_compound(tmp_path):
    text = PLAIN + "\n[growth]\nper_month = 0.1\nmonths = 6\n"
    months = found(tmp_path, text).likely.months
    assert [month.gpus_held for month in months] == [
        math.ceil(60 * 1.1**m * (1 - 1e-12)) for m in range(7)
    ]
    assert months[6].usd_per_month_held == pytest.approx(107 * 2 * HOURS_A_MONTH)
    assert months[6].minutes_kept_per_day == pytest.approx(600 * 1.1**6)
    assert months[6].usd_per_minute_held == pytest.approx(107 * 2 * 24 / (600 * 1.1**6))


ENERGY = "\n[energy]\npue = 1.5\nusd_per_kwh = { low = 0.1, likely = 0.2, high = 0.3 }\n"


@pytest.mark.parametrize("promise", ["", PROMISE])
def test_the_first_month_of_growth_is_the_answer_itself(tmp_path, promise):
    text = UNCERTAIN + promise + ENERGY + "\n[growth]\nper_month = 0.1\nmonths = 2\n"
    got = found(tmp_path, text)
    for outcome in (got.intervals, got.likely):
        for key in ("minutes_kept_per_day", "gpus_held", "usd_per_month_held",
                    "usd_per_minute_held"):  # fmt: skip
            assert getattr(outcome.months[0], key) == getattr(outcome.totals, key)


def test_a_month_of_growth_is_the_answer_to_the_demand_that_has_grown(tmp_path):
    """With a promise each month is counted by queueing: 1,200 x 1.5**2 minutes are 2,700."""
    text = PLAIN + PROMISE + ENERGY
    grown = found(tmp_path, text + "\n[growth]\nper_month = 0.5\nmonths = 2\n").likely.months[2]
    then = totals(tmp_path, changed("= 1200", "= 2700", text))
    assert grown.gpus_held == then.gpus_held
    assert grown.usd_per_month_held == pytest.approx(then.usd_per_month_held)
    assert grown.usd_per_minute_held == pytest.approx(then.usd_per_minute_held)


def test_with_a_promise_the_mean_is_counted_by_queueing_too(tmp_path):
    """GPUs that follow demand keep the promise in an hour of mean demand, and cost accordingly."""
    got = totals(tmp_path, PLAIN + PROMISE)
    rate = 1200 * 10 / 86_400
    servers = servers_for_promise(rate, 72.0, 0.0, promise_s=60, share=0.95)
    assert got.gpus_at_mean == servers
    assert got.usd_per_month_following == pytest.approx(servers * 2 * HOURS_A_MONTH)
    assert got.gpus_at_mean_by_averages == pytest.approx(20)
    assert got.gpus_at_peak_by_averages == pytest.approx(60)


def test_the_kinds_add_up_to_the_whole(tmp_path):
    text = changed("power_w = 700", "power_w = 700\nshare = 0.75\n[[hardware]]\n"
                   'gpu = "RTX 4090"\nusd_per_h = 0.5\nutilisation = 1\nshare = 0.25')  # fmt: skip
    text += '[[speeds]]\nmodel = "given"\ngpu = "4090"\nminutes_per_gpu_hour = 1\n' + PROMISE
    got = found(tmp_path, text).likely
    for key in ("gpus_held", "gpus_at_mean", "gpus_at_peak_by_averages", "usd_per_month_held",
                "kw_at_peak", "mwh_per_month"):  # fmt: skip
        parts = [getattr(kind, key) for kind in got.kinds.values()]
        assert math.fsum(parts) == pytest.approx(getattr(got.totals, key))


def test_a_platforms_own_growth_overrides_that_of_the_scenario(tmp_path):
    text = changed("peak_to_mean = 3", "peak_to_mean = 3\ngrowth_per_month = 0.1")
    text += "\n[growth]\nper_month = 0.5\nmonths = 2\n"
    assert found(tmp_path, text).likely.months[2].gpus_held == math.ceil(60 * 1.1**2)


def test_idle_gpus_and_the_site_take_power(tmp_path):
    text = changed("power_w = 700", "power_w = 700\nidle_w = 100")
    text += "\n[energy]\npue = 1.5\nusd_per_kwh = 0.1\nkg_co2_per_kwh = 0.4\n"
    got = totals(tmp_path, text)
    mwh = (10 * 700 + 50 * 100) * 1.5 * HOURS_A_MONTH / 1e6
    assert got.mwh_per_month == pytest.approx(mwh)
    assert got.kw_at_peak == pytest.approx((30 * 700 + 30 * 100) * 1.5 / 1e3)
    assert got.usd_per_month_held == pytest.approx(60 * 2 * HOURS_A_MONTH + mwh * 1000 * 0.1)
    assert got.kg_co2_per_month == pytest.approx(mwh * 1000 * 0.4)


def test_training_is_flops_over_what_the_gpu_does(tmp_path):
    got = found(tmp_path, PLAIN + TRAINING).likely
    run = got.training["t"]
    hours = 1e24 / (989e12 * 3600 * 0.4)
    assert run.gpu_hours == pytest.approx(hours)
    assert run.num_gpus == pytest.approx(hours / 720)
    assert run.usd == pytest.approx(3 * hours)
    assert run.mwh == pytest.approx(hours * 700 / 1e6)
    per_minute_made = got.totals.usd_per_minute_following / 2
    assert run.break_even_minutes_made == pytest.approx(3 * hours / per_minute_made)
    assert run.break_even_days == pytest.approx(3 * hours / per_minute_made / 1200)


def test_training_by_parameters_and_tokens_is_six_flop_each(tmp_path):
    text = PLAIN + TRAINING.replace("flop = 1e24", "params = 1e10\ntokens = 1e13")
    plain = PLAIN + TRAINING.replace("flop = 1e24", "flop = 6e23")
    one, other = (found(tmp_path, each).likely.training["t"] for each in (text, plain))
    assert one.gpu_hours == pytest.approx(other.gpu_hours)


def test_training_by_gpu_hours_and_gpus_takes_their_quotient(tmp_path):
    text = TRAINING.replace("flop = 1e24\nutilisation = 0.4\ndays = 30",
                            "gpu_hours = 4800\nnum_gpus = 100")  # fmt: skip
    assert found(tmp_path, PLAIN + text).likely.training["t"].days == pytest.approx(2)


PREDICTED = PLAIN[: PLAIN.index("[[speeds]]")].replace('model = "given"\n    clip_s = 6',
                                                       'model = "wan2.1-t2v-1.3b"')  # fmt: skip


def test_the_error_of_a_prediction_widens_the_interval(tmp_path):
    model = FACTS.architectures["wan2.1-t2v-1.3b"]
    prediction = predict(workload_of(model), find_gpu("h100", FACTS.hardware))
    got = found(tmp_path, PREDICTED, num_draws=100_000)
    assert prediction.minutes_per_gpu_hour is not None
    assert got.likely.totals.gpus_at_mean == pytest.approx(
        1200 / (24 * prediction.minutes_per_gpu_hour.likely * 0.5)
    )
    spread = got.intervals.totals.gpus_at_mean
    assert math.log(spread.high / spread.low) == pytest.approx(
        2 * 1.2815515594600038 * prediction.sigma, rel=0.02
    )
    assert got.gpus_depend_on[0].name == "hardware.H100 SXM.speed"


def test_uncertain_lengths_and_steps_are_predicted_at_their_own_values(tmp_path):
    text = PREDICTED.replace(
        'model = "wan2.1-t2v-1.3b"',
        'model = "wan2.1-t2v-1.3b"\nclip_s = { low = 2, likely = 4, high = 8 }\n'
        "steps = { low = 4, likely = 20, high = 50 }",
    )
    (made,) = throughputs(scenario_of(tmp_path, text), FACTS).values()
    assert isinstance(made.speed, PredictedSpeed)
    gpu = find_gpu("h100", FACTS.hardware)
    lengths, counts = np.array([3.0, 5.0625, 6.5]), np.array([9.0, 30.0, 45.0])
    values = {each: np.array([each.quantity.likely] * 3) for each in made.inputs}
    values |= {made.clip_s: lengths, made.speed.steps: counts}
    rates = made.minutes_per_gpu_hour(values)
    for clip_s, steps, rate in zip(lengths, counts, rates, strict=True):
        workload = workload_of(
            FACTS.architectures["wan2.1-t2v-1.3b"],
            num_frames=round(clip_s * 16),
            num_steps=round(steps),
        )
        exact = predict(workload, gpu).minutes_per_gpu_hour
        assert exact is not None
        assert rate == pytest.approx(exact.likely, rel=0.05)


def test_the_ranking_names_what_the_answer_depends_on(tmp_path):
    got = found(tmp_path, UNCERTAIN)
    assert got.gpus_depend_on[0].name == "one.clips_per_kept"
    assert sum(one.first for one in got.gpus_depend_on) == pytest.approx(1, abs=0.03)


def test_drawn_shares_of_a_mix_always_add_up(tmp_path):
    text = changed("clip_s = 6", "clip_s = 6\nshare = {low=0.2, likely=0.5, high=0.8}\n"
                   '[[platforms.clips]]\nmodel = "given"\nclip_s = 9\nshare = 0.5')  # fmt: skip
    spread = found(tmp_path, text).intervals.totals.gpus_at_mean
    assert (spread.low, spread.high) == pytest.approx((20, 20))  # both kinds are as fast


def test_every_input_of_the_model_has_a_likely_value_that_counts(tmp_path):
    model = DemandModel.of(scenario_of(tmp_path, UNCERTAIN + PROMISE + TRAINING), FACTS)
    outcome = model.outcome(likely(model.inputs))
    assert outcome.totals.gpus_at_mean.shape == (1,)
    assert set(model.serving_inputs) <= set(model.inputs)


def test_held_gpus_are_whole_numbers(tmp_path):
    """1,201 minutes make 60.05 GPUs at peak."""
    got = totals(tmp_path, changed("= 1200", "= 1201"))
    assert got.gpus_at_peak == pytest.approx(60.05)
    assert got.gpus_held == 61


def test_without_growth_there_is_no_series_of_equal_months(tmp_path):
    assert len(found(tmp_path).likely.months) == 1


def test_a_missing_scipy_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r'pip install "reelgrid\[plan\]"'):
        found(tmp_path)
