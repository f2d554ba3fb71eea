"""The Sora report is reproduced to its last printed digit, and its contradictions are shown."""

import json
import re

import pytest

from reelgrid.plan.facts.known import shipped_facts
from reelgrid.plan.sora_report import calculation
from reelgrid.plan.sora_report.contradictions import attention_factor, contradictions
from reelgrid.plan.sora_report.page import as_json, recompute, tables

# Printed figures of the report, and the values behind them in the facts: `key | printed | values`.
# The last printed digit of 4,200 is that of the hundreds.
EXPECTED = """
base_h100_months        | 0.4            | 0.39
base_h100_days          | 12             | 11.7
h100_month_flop         |                | 2.5645e21
params_factor           | 30x            | 29.6
latent_frames_factor    | 180x           | 180
data_factors            | 4-10x          | 4; 10
tokens_factor           |                | 90
training_flop           | 1.1e25; 2.7e25 | 1.08e25; 2.70e25
training_h100s          | 4,200-10,500   | 4211; 10528
dit_image_flop          | 131e12         | 131e12
step_flop               | 2.8e15         | 2.83e15
minute_flop             | 708e15         | 708e15
minutes_per_h100_hour   | about 5        | 5.03
break_even_minutes      | 15.3-38.1M     | 15.25e6; 38.14e6
minutes_per_h100_day    | 120            | 120
tiktok_minutes_per_day  | 17M            | 17e6
tiktok_share            | 50 %           | 0.5
tiktok_generated        |                | 8.5e6
youtube_minutes_per_day | 43M            | 43e6
youtube_share           | 15 %           | 0.15
youtube_generated       |                | 6.45e6
total_minutes_per_day   | 10.7M          | 10.7e6
h100s_lower_bound       | 89k            | 89167
h100s_at_peak           | about 720k     | 720000
"""
ROWS = [tuple(part.strip() for part in row.split("|")) for row in EXPECTED.strip().splitlines()]
SCALES = {"k": 1e3, "M": 1e6, "%": 0.01}
FIGURES = {figure.key: figure for figure in calculation.figures()}


def printed_numbers(text):
    """Each number of a printed figure, and the place of its last printed digit."""
    text = text.replace(",", "")
    ending = next((scale for mark, scale in SCALES.items() if text.endswith(mark)), 1.0)
    for match in re.finditer(r"(\d+)(?:\.(\d+))?(?:e(\d+))?", text):
        whole, decimals, power = match[1], match[2] or "", int(match[3] or 0)
        unit = ending * 10.0**power / 10 ** len(decimals)
        if not decimals and len(whole) > 3:
            unit *= 10 ** (len(whole) - len(whole.rstrip("0")))
        yield float(f"{whole}.{decimals or 0}") * ending * 10.0**power, unit


def test_the_table_has_every_figure_and_no_other():
    assert [row[0] for row in ROWS] == sorted(FIGURES, key=[row[0] for row in ROWS].index)
    assert {figure.printed for figure in FIGURES.values()} == {row[1] for row in ROWS}


@pytest.mark.parametrize(("key", "printed", "_"), ROWS, ids=[row[0] for row in ROWS])
def test_a_printed_figure_is_reproduced_to_its_last_digit(key, printed, _):
    figure = FIGURES[key]
    assert figure.printed == printed
    assert figure.is_reproduced is (True if printed else None)
    if printed:
        numbers = list(printed_numbers(printed))
        assert len(numbers) == len(figure.values)
        for value, (number, place) in zip(figure.values, numbers, strict=True):
            assert abs(value - number) <= 0.5 * place * (1 + 1e-9)


@pytest.mark.parametrize(("key", "_", "values"), ROWS, ids=[row[0] for row in ROWS])
def test_the_value_behind_it_is_the_one_that_is_known(key, _, values):
    for value, known in zip(FIGURES[key].values, values.split(";"), strict=True):
        digits = len(re.sub(r"e.*|^0\.|\.|\s", "", known))
        assert value == pytest.approx(float(known), rel=0.51 * 10 ** -(digits - 1))


def computed(formula):
    """The value of a formula, computed from its text; `None` if it is words."""
    text = re.sub(r"\((rounded)\)|videos|steps|candidates|peak over mean|utilisation", " ", formula)
    text = re.sub(r"\b(\d+) s\b", r"\1", text).replace(",", "") if "{" not in text else text
    text = re.sub(r"([\d.]+)M", r"\1e6", text)
    text = re.sub(r"([\d.]+)k", r"\1e3", text)
    text = re.sub(r"([\d.]+) %", r"(\1/100)", text)
    text = text.replace(" x ", " * ")
    choices = re.search(r"\{([^}]*)\}", text)
    if re.search(r"[a-df-zA-Z]", text):
        return None
    texts = (
        [text.replace(choices[0], part) for part in choices[1].split(",")] if choices else [text]
    )
    return [eval(each, {"__builtins__": {}}) for each in texts]


@pytest.mark.parametrize("key", FIGURES)
def test_the_formula_beside_it_gives_the_value(key):
    figure = FIGURES[key]
    values = computed(figure.formula)
    if values is None:
        assert figure.formula in {"assumed", "given"} or "as printed" in figure.formula
        return
    assert list(figure.values) == pytest.approx(values, rel=2e-3)


def test_the_formulas_of_the_contradictions_give_their_values():
    checked = 0
    for each in contradictions():
        for line in each.lines:
            values = computed(line.formula)
            if values is not None:
                assert line.value == pytest.approx(values[0], rel=6e-3), line
                checked += 1
    assert checked >= 17


def value_of(point, what):
    """A figure of one of the six points, by its words."""
    (line,) = (line for line in contradictions()[point - 1].lines if line.what == what)
    return line.value


@pytest.mark.parametrize(
    ("point", "what", "known", "digits"),
    [
        (1, "minutes a day, as stated", 14.95e6, 4),
        (1, "lower bound", 124.6e3, 4),
        (1, "at peak", 997e3, 3),
        (1, "share of YouTube that 10.7M implies", 0.05, 1),
        (2, "speed", 2.5, 2),
        (2, "training for a month, low", 8.4e3, 2),
        (2, "training for a month, high", 21e3, 2),
        (4, "Wan2.2 A14B 720p on H100 SXM", 0.29, 2),
        (4, "HunyuanVideo 720p on H100 SXM", 0.19, 2),
        (4, "Wan2.1 14B 480p on H100 SXM", 0.65, 2),
        (4, "Wan2.1 1.3B 480p on H100 SXM", 3.2, 2),
        (4, "CogVideoX-2B on H100 SXM", 8.5, 2),
        (4, "LTX-Video 2B on H100 SXM", 150, 2),
        (4, "FastWan 1.3B 480p, 3 steps on H200 SXM", 60, 1),
        (5, "TikTok", 40.0e6, 3),
        (5, "at peak", 1.76e6, 3),
        (6, "at peak as a 53-second scene", 10.7e6 * 2137 * 5 / 53 * 2 / 60, 6),
        (6, "at peak as an advertisement", 10.7e6 * 70_000 * 5 / 60 * 2 / 60, 6),
    ],
)
def test_each_contradiction_has_its_known_figures(point, what, known, digits):
    assert float(f"{value_of(point, what):.{digits - 1}e}") == pytest.approx(
        float(f"{known:.{digits - 1}e}")
    )


def test_there_are_six_contradictions():
    assert len(contradictions()) == 6
    words = " ".join(contradictions()[2].title.lower().split())
    for left_out in ("guidance", "attention", "codec", "text encoder", "resolution", "utilisation"):
        assert left_out in words


def test_break_even_stays_where_operations_are_counted_alike():
    """Training and serving both double: the ratio is the report's."""
    low, high = calculation.training_flop()
    doubled = [2 * flop / (2 * calculation.minute_flop()) for flop in (low, high)]
    assert tuple(doubled) == calculation.values()["break_even_minutes"]


def test_attention_is_counted_as_in_the_networks_of_the_table():
    """The shape of DiT-XL gives the 524 GFLOP that it is known for, from which the rest follows."""
    layers, width, tokens = 28, 1152, 1024
    linear = 12 * width**2 * layers * tokens
    attention = 2 * tokens**2 * width * layers
    assert linear + attention == pytest.approx(524e9, rel=0.02)
    assert attention_factor() == pytest.approx(8.35, abs=0.01)


def test_halves_are_rounded_up_as_people_do():
    assert calculation.round_half_up(707.5) == 708
    assert calculation.round_half_up(706.5) == 707
    assert calculation.round_half_up(4250.0, -2) == 4300


def test_todays_models_are_counted_with_the_same_formula():
    found = recompute(shipped_facts())
    for row in (*found.published, *found.predicted):
        exact = 10.7e6 * 2 * 2 / (24 * row.minutes_per_gpu_hour.likely)
        assert 0 <= row.gpus_at_peak.likely - exact < 1
        assert row.gpus_at_peak.low <= row.gpus_at_peak.likely <= row.gpus_at_peak.high
    assert {row.gpu for row in found.predicted} >= {"H100 SXM", "B200", "MI300X", "RTX 4090"}
    assert all(row.minutes_per_gpu_hour.low < row.minutes_per_gpu_hour.high
               for row in found.predicted)  # fmt: skip


def test_every_constant_has_a_source():
    for name, each in calculation.read_facts()["constants"].items():
        assert each["source"], name


def test_the_report_is_json_and_tables_of_the_same_figures():
    found = recompute(shipped_facts())
    read = json.loads(json.dumps(as_json(found), allow_nan=False))
    assert [row["shown"] for row in read["figures"]] == [one.shown for one in found.figures]
    assert len(tables(found)[0].rows) == len(found.figures)
    assert len(read["contradictions"]) == 6
