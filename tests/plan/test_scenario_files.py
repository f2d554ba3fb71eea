"""A scenario file is read strictly: a mistake is one line with line number, key and what is expected."""

import json
import os

import pytest

from reelgrid.errors import RequestError
from reelgrid.plan.demand.model import DemandModel, answer_demand
from reelgrid.plan.demand.tables import as_json
from reelgrid.plan.demand.throughput import throughputs
from reelgrid.plan.facts.known import shipped_facts
from reelgrid.plan.scenario.values import read_scenario
from reelgrid.plan.uncertainty import Exact, LogNormal, Triangular
from reelgrid.spec import Size
from tests.plan.scenarios import PLAIN, changed, scenario_of

HOURS = ", ".join(["1"] * 24)


def line_of(text, words):
    """The line of the last occurrence of some words."""
    return next(n for n, row in reversed(list(enumerate(text.split("\n"), 1))) if words in row)


def test_a_whole_file_becomes_values(tmp_path):
    scenario = scenario_of(tmp_path)
    (platform,) = scenario.platforms
    assert platform.minutes_per_day == Exact(1200.0)
    assert platform.clips[0].clip_s == Exact(6.0)
    assert scenario.hardware[0].utilisation == Exact(0.5)
    assert scenario.simulation is None


def test_inputs_may_be_distributions_in_any_way_that_toml_writes_tables(tmp_path):
    text = changed("minutes_per_day = 1200", "minutes_per_day = { low = 1, likely = 2, high = 4 }")
    text = changed("share_made_by_ai = 0.5", "share_made_by_ai.low = 0.1\nshare_made_by_ai.likely "
                   "= 0.2\nshare_made_by_ai.high = 0.3", text)  # fmt: skip
    text = changed("clips_per_kept = 2", "clips_per_kept = {median=2, sigma=0.5, at_least=1}", text)
    (platform,) = scenario_of(tmp_path, text).platforms
    assert platform.minutes_per_day == Triangular(1, 2, 4)
    assert platform.share_made_by_ai == Triangular(0.1, 0.2, 0.3)
    assert platform.clips_per_kept == LogNormal(2, 0.5, at_least=1)


def test_a_profile_is_demand_over_its_mean(tmp_path):
    hours = ", ".join(["1"] * 12 + ["3"] * 12)
    text = changed("peak_to_mean = 3", f"profile_by_hour = [{hours}]")
    (platform,) = scenario_of(tmp_path, text).platforms
    assert platform.demand_by_hour == (0.5,) * 12 + (1.5,) * 12


def test_sizes_are_read(tmp_path):
    text = changed("clip_s = 6", 'clip_s = 6\nsize = "832x480"')
    assert scenario_of(tmp_path, text).platforms[0].clips[0].size == Size(832, 480)


def test_windows_line_ends_and_a_byte_order_mark_are_ignored(tmp_path):
    path = tmp_path / "windows.toml"
    path.write_bytes(b"\xef\xbb\xbf" + PLAIN.replace("\n", "\r\n").encode())
    assert read_scenario(path).name == "plain"


# old text; new text; the key in the message; words of the expectation in it
BAD = {
    "a word for a number": ("= 1200", '= "many"', "minutes_per_day", "expected a number above 0"),
    "a truth for a number": ("= 1200", "= true", "minutes_per_day", "got true"),
    "a date for a number": ("= 1200", "= 2026-01-01", "minutes_per_day", "expected a number"),
    "an array for a number": ("= 1200", "= [1, 2]", "minutes_per_day", "got an array"),
    "negative": ("= 1200", "= -5", "minutes_per_day", "a number above 0, got -5"),
    "zero": ("= 1200", "= 0", "minutes_per_day", "a number above 0, got 0"),
    "not a number": ("= 1200", "= nan", "minutes_per_day", "expected a finite number"),
    "infinite": ("= 1200", "= inf", "minutes_per_day", "expected a finite number"),
    "too large for a float": ("= 1200", "= 1e999", "minutes_per_day", "expected a finite number"),
    "an integer of 400 digits": ("= 1200", f"= 1{'0' * 400}", "minutes_per_day", "2**63"),
    "a share above 1": ("= 0.5\nclips", "= 1.5\nclips", "share_made_by_ai", "up to 1, got 1.5"),
    "a share that may be above 1": (
        "= 0.5\nclips", "= { median = 0.5, sigma = 1 }\nclips", "share_made_by_ai",
        "give at_least and at_most"),
    "low above likely": (
        "= 1200", "= { low = 3, likely = 2, high = 4 }", "minutes_per_day.low", "low <= likely"),
    "likely above high": (
        "= 1200", "= { low = 1, likely = 5, high = 4 }", "minutes_per_day.likely", "likely 5 above"),
    "half a distribution": (
        "= 1200", "= { low = 1, high = 4 }", "minutes_per_day", "expected the key 'likely'"),
    "two distributions in one": (
        "= 1200", "= { median = 1, sigma = 1, low = 4 }", "minutes_per_day.low", "unknown key"),
    "a distribution that there is not": (
        "= 1200", "= { mean = 1, std = 4 }", "minutes_per_day.mean", "did you mean 'median'?"),
    "a negative sigma": (
        "= 1200", "= { median = 1, sigma = -1 }", "minutes_per_day.sigma", "sigma from 0"),
    "nan within a distribution": (
        "= 1200", "= { median = nan, sigma = 1 }", "minutes_per_day.median", "finite"),
    "a low end of nothing": (
        "= 1200", "= { low = 0, likely = 2, high = 4 }", "minutes_per_day", "above 0"),
    "a key misspelt": ("clips_per_kept", "clips_per_keep", "clips_per_keep",
                       "did you mean 'clips_per_kept'?"),
    "a unit forgotten": ("usd_per_h", "usd", "usd", "unknown key 'usd'"),
    "a table misspelt": ("[[speeds]]", "[[speed]]", "speed", "did you mean 'speeds'?"),
    "the place of the reader": ('name = "plain"', 'place = "here"', "place", "unknown key 'place'"),
    "a name for a number": ('name = "one"', "name = 1", "name", "expected text, got 1"),
    "an empty name": ('name = "one"', 'name = " "', "name", "1 to 200 characters"),
    "a name with a bell": ('name = "one"', 'name = "a\\u0007"', "name", "control characters"),
    "a table for an array": ("[[hardware]]", "[hardware]", "hardware", "expected an array"),
    "an array for a table": ("[[speeds]]", "[[promise]]\nwait_s = 1\n[[speeds]]", "promise",
                             "expected a table"),
    "a profile of 23 hours": (
        "peak_to_mean = 3", f"profile_by_hour = [{HOURS[3:]}]", "profile_by_hour",
        "expected 24 numbers, one an hour, got 23"),
    "a profile of nothing": (
        "peak_to_mean = 3", f"profile_by_hour = [{HOURS.replace('1', '0')}]", "profile_by_hour",
        "above 0"),
    "a profile with a word": (
        "peak_to_mean = 3", 'profile_by_hour = [1, "2"]', "profile_by_hour[1]", "got '2'"),
    "a negative hour": (
        "peak_to_mean = 3", f"profile_by_hour = [-1, {HOURS[3:]}]", "profile_by_hour[0]", "got -1"),
    "peak and profile": (
        "peak_to_mean = 3", f"peak_to_mean = 3\nprofile_by_hour = [{HOURS}]", "profile_by_hour",
        "got both"),
    "a peak below the mean": ("= 3", "= 0.5", "peak_to_mean", "at least 1, got 0.5"),
    "shares of clips of 0.9": (
        "clip_s = 6", "clip_s = 6\nshare = 0.9", "platforms[0].clips", "add up to 1, got 0.9"),
    "shares of hardware of 1.2": (
        "power_w", "share = 1.2\npower_w", "hardware[0].share", "up to 1, got 1.2"),
    "two platforms of one name": (
        "[[hardware]]", '[[platforms]]\nname = "One"\nminutes_per_day = 1\n'
        'clips = [{ model = "given", clip_s = 1 }]\n[[hardware]]', "platforms", "'One' twice"),
    "two speeds at once": (
        "minutes_per_gpu_hour = 5", "minutes_per_gpu_hour = 5\nseconds_per_clip = 3",
        "speeds[0].minutes_per_gpu_hour", "got seconds_per_clip and minutes_per_gpu_hour"),
    "no speed": ("minutes_per_gpu_hour = 5", 'source = "x"', "speeds[0]", "got none"),
    "a size without a height": ("clip_s = 6", 'size = "large"', "size", "expected WIDTHxHEIGHT"),
    "a size as numbers": ("clip_s = 6", "size = [832, 480]", "size", '"832x480", got [832, 480]'),
    "half a GPU": ("power_w = 700", "gpus_per_clip = 1.5", "gpus_per_clip", "a whole number"),
    "no GPU": ("power_w = 700", "gpus_per_clip = 0", "gpus_per_clip", "1 to 1024"),
    "months of 1e30": ("[[speeds]]", f"[growth]\nmonths = 1{'0' * 30}\n[[speeds]]", "growth.months",
                       "2**63"),
    "a promise to all": ("[[speeds]]", "[promise]\nwait_s = 1\nshare = 1\n[[speeds]]",
                         "promise.share", "up to 0.999999"),
    "training of nothing": (
        "[[speeds]]", '[[training]]\nname = "t"\ngpu = "h100"\ndays = 3\n[[speeds]]', "training[0]",
        "expected one of flop, params, gpu_hours"),
    "training without utilisation": (
        "[[speeds]]", '[[training]]\nname = "t"\ngpu = "h100"\ndays = 3\nflop = 1\n[[speeds]]',
        "training[0].utilisation", "expected utilisation"),
    "training by days and GPUs": (
        "[[speeds]]", '[[training]]\nname = "t"\ngpu = "h100"\ndays = 3\nnum_gpus = 3\n'
        "gpu_hours = 1\n[[speeds]]", "training[0].num_gpus", "got days and num_gpus"),
    "larger than anything": ("= 1200", "= 1e31", "minutes_per_day", "1e-30 and 1e+30"),
    "smaller than anything": ("= 1200", "= 1e-31", "minutes_per_day", "1e-30 and 1e+30"),
    "growth of 2,000 %": ("[[speeds]]", "[growth]\nper_month = 20\n[[speeds]]", "growth.per_month",
                          "up to 10, got 20"),
    "51 kinds of clips": (
        "    [[platforms.clips]]", "    [[platforms.clips]]\n    model = 'x'\n" * 50
        + "    [[platforms.clips]]", "platforms[0].clips", "1 to 50 [[clips]], got 51"),
    "a missing key": ("utilisation = 0.5\n", "", "hardware[0]", "expected the key 'utilisation'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_reported_with_line_key_and_what_is_expected(case, tmp_path):
    old, new, key, expected = BAD[case]
    text = changed(old, new) if PLAIN.count(old) == 1 else PLAIN.replace(old, new, 1)
    with pytest.raises(RequestError) as caught:
        scenario_of(tmp_path, text)
    message = str(caught.value)
    assert "\n" not in message
    assert expected in message
    assert caught.value.param is not None
    assert caught.value.param.endswith(key)
    file, line, rest = message.removeprefix(str(tmp_path)).split(":", 2)
    assert file == "/scenario.toml"
    assert rest.startswith(f" {caught.value.param}: ")
    assert 1 <= int(line) <= text.count("\n")


def test_the_line_is_that_of_the_value(tmp_path):
    text = changed("clip_s = 6", "clip_s = 6\n    steps = 0\n")
    with pytest.raises(RequestError, match=rf"toml:{line_of(text, 'steps')}: platforms\[0\]"):
        scenario_of(tmp_path, text)


def test_a_missing_key_is_reported_at_its_table(tmp_path):
    text = PLAIN.replace("utilisation = 0.5\n", "")
    with pytest.raises(RequestError, match=rf"toml:{line_of(text, '[[hardware]]')}: hardware\[0\]"):
        scenario_of(tmp_path, text)


SYNTAX = {
    "an empty file": ("", 1, "expected [[platforms]]"),
    "only a comment": ("# nothing\n", 1, "got an empty file"),
    "no value": ("name = \n", 1, "expected valid TOML"),
    "a key twice": ('name = "a"\nname = "b"\n', 2, "the key comes twice: 'name = \"b\"'"),
    "a table twice": ("[growth]\nmonths = 1\n[growth]\n", 3, "cannot declare"),
    "a string without end": ('name = "a\n', 1, "expected valid TOML"),
    "an array without end": ("name = [1,\n2", 2, "expected valid TOML"),
    "an integer of 5,000 digits": (f"name = {'9' * 5000}", 1, "expected valid TOML"),
    "brackets 3,000 deep": (f"name = {'[' * 3000}{']' * 3000}", 1, "nested too deep"),
}


@pytest.mark.parametrize("case", SYNTAX)
def test_invalid_toml_is_reported_with_its_line(case, tmp_path):
    text, line, expected = SYNTAX[case]
    with pytest.raises(RequestError) as caught:
        scenario_of(tmp_path, text)
    assert f"scenario.toml:{line}: " in str(caught.value)
    assert expected in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_binary_file_is_reported_with_the_line_where_text_ends(tmp_path):
    path = tmp_path / "binary.toml"
    path.write_bytes(b'name = "a"\n\xff\xfe\x00\x01')
    with pytest.raises(RequestError, match=r"binary.toml:2: expected text in UTF-8"):
        read_scenario(path)


def test_a_huge_file_is_not_read(tmp_path):
    path = tmp_path / "huge.toml"
    path.write_bytes(b"#" * 1_000_001)
    with pytest.raises(RequestError, match="at most 1,000,000 bytes"):
        read_scenario(path)


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(RequestError, match="No such file"):
        read_scenario(tmp_path / "none.toml")


def test_a_folder_is_one_line(tmp_path):
    with pytest.raises(RequestError, match="Is a directory"):
        read_scenario(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read_is_one_line(tmp_path):
    path = tmp_path / "secret.toml"
    path.write_text(PLAIN)
    path.chmod(0)
    with pytest.raises(RequestError, match="Permission denied"):
        read_scenario(path)


UNKNOWN = {
    "a GPU": ('gpu = "H100 SXM"', 'gpu = "H1000"', "hardware[0].gpu", "no GPU is called"),
    "a model": ('model = "given"\n    clip', 'model = "wan9"\n    clip', "speeds[0].model",
                "expected a model of"),
    "a GPU of a speed": ('gpu = "h100"', 'gpu = "T4"', "speeds[0].gpu", "a GPU of [[hardware]]"),
    "a price": ('gpu = "H100 SXM"\nusd_per_h = 2', 'gpu = "GB200"', "hardware[0]",
                "expected the key 'usd_per_h': no public price"),
    "the length of a clip": ("clip_s = 6", "", "platforms[0].clips[0]", "expected the key 'clip_s'"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNKNOWN)
def test_an_unknown_gpu_or_model_is_reported_with_line_and_key(case, tmp_path):
    old, new, key, expected = UNKNOWN[case]
    text = changed(old, new)
    text = text.replace('gpu = "h100"', 'gpu = "GB200"') if case == "a price" else text
    scenario = scenario_of(tmp_path, text)
    with pytest.raises(RequestError) as caught:
        DemandModel.of(scenario, shipped_facts())
    assert key in str(caught.value)
    assert expected in str(caught.value)
    assert "scenario.toml:" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (changed("= 1200", "= 1e30") + "[promise]\nwait_s = 1\n", "servers at work"),
        (changed("= 1200", "= 1e30") + "[growth]\nper_month = 10\nmonths = 120\n", None),
        (changed("= 1200", "= 1e-30") + "[promise]\nwait_s = 1\n", None),
    ],
)
def test_absurd_numbers_give_an_answer_or_one_line(text, expected, tmp_path):
    scenario = scenario_of(tmp_path, text)
    if expected is None:
        json.dumps(
            as_json(answer_demand(scenario, shipped_facts(), num_draws=100)), allow_nan=False
        )
        return
    with pytest.raises(RequestError, match=expected):
        answer_demand(scenario, shipped_facts(), num_draws=100)


def test_a_model_of_images_serves_no_video(tmp_path):
    text = PLAIN[: PLAIN.index("[[speeds]]")].replace('"given"', '"flux.1-dev"')
    with pytest.raises(RequestError, match=r"clips\[0\].model: expected a model of video"):
        throughputs(scenario_of(tmp_path, text), shipped_facts())
