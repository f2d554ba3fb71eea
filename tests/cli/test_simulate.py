import html
import json
import re
from pathlib import Path

import pytest

from reelgrid.cli.app import run
from tests.plan.simulation.test_build import SCENARIO


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "scenario.toml"
    path.write_text(SCENARIO, encoding="utf-8")
    return str(path)


def test_tables_and_an_answer_for_people(scenario, capsys):
    assert run(["simulate", scenario]) == 0
    out, err = capsys.readouterr()
    assert "95 % of the clips" in out.splitlines()[0]
    assert "8 nodes, 11 GPUs, 12.0 h" in out
    assert "cost of a minute made" in out
    assert "cost of a minute published" in out
    assert "Use of the leased GPU-hours" in out
    assert "events in" in err


def test_json_is_the_same_bytes_for_the_same_seed_on_both_engines(scenario, capsys):
    texts = []
    for options in ([], [], ["--engine", "fast"], ["--seed", "5"]):
        assert run(["simulate", scenario, "--json", *options]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] == texts[2] != texts[3]
    figures = json.loads(texts[0])
    assert figures["num_nodes"] == 8
    assert figures["with_checkpoints"]["figures"]["leased_gpu_h"]["value"] > 0
    spent = figures["with_checkpoints"]["gpu_hours"]
    assert sum(spent.values()) == pytest.approx(12 * (5 + 3 * 2))


def test_several_runs_give_intervals(scenario, capsys):
    assert run(["simulate", scenario, "--json", "--runs", "4", "--hours", "6"]) == 0
    found = json.loads(capsys.readouterr().out)["with_checkpoints"]["figures"]["wait_mean_s"]
    assert found["low"] < found["value"] < found["high"]


def test_a_page_holds_the_answer_and_the_charts(scenario, tmp_path, capsys):
    page = tmp_path / "day.html"
    assert run(["simulate", scenario, "--no-compare", "--html", str(page)]) == 0
    answer = capsys.readouterr().out.splitlines()[0].partition(": ")[2]
    text = page.read_text(encoding="utf-8")
    assert html.escape(answer) in text
    assert "Waiting jobs" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.toml"], "missing.toml"),
        (["--runs", "0"], "runs"),
        (["--hours", "-1"], "--hours: expected a number above 0"),
        (["--hours", "1e9"], "--hours: expected a number above 0 and up to 87840, got 1000000000"),
        (["--hours", "nan"], "--hours: expected a number above 0 and up to"),
        (["--engine", "quick"], "engine"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(scenario, arguments, message, capsys):
    words = arguments if arguments[0].endswith("toml") else [scenario, *arguments]
    assert run(["simulate", *words]) == 2
    err = capsys.readouterr().err.strip()
    assert message in err
    assert "\n" not in err


def test_a_page_that_cannot_be_written_is_refused_before_the_run(scenario, tmp_path, capsys):
    for path in (tmp_path / "no" / "day.html", tmp_path):
        assert run(["simulate", scenario, "--html", str(path)]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert "folder" in err
        assert err.count("\n") == 1


def test_minutes_published_are_those_made_over_the_clips_made_for_one(scenario, capsys):
    text = Path(scenario).read_text(encoding="utf-8")
    assert "clips_per_kept = 2" in text
    text = text.replace("clips_per_kept = 2", "clips_per_kept = 4")
    Path(scenario).write_text(text, encoding="utf-8")
    assert run(["simulate", scenario, "--no-compare", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    four = {key: each["value"] for key, each in found["with_checkpoints"]["figures"].items()}
    assert four["minutes_published"] == pytest.approx(four["minutes_made"] / 4)
    assert four["usd_per_minute_published"] == pytest.approx(4 * four["usd_per_minute_made"])


def test_the_users_own_gpus_are_simulated_as_demand_counts_them(scenario, tmp_path, capsys):
    """A user's price takes precedence, as in `plan demand`."""
    text = Path(scenario).read_text(encoding="utf-8")
    assert run(["simulate", scenario, "--no-compare", "--json"]) == 0
    usual = json.loads(capsys.readouterr().out)["with_checkpoints"]["figures"]["usd"]["value"]
    prices = tmp_path / "gpus.csv"
    prices.write_text("name,usd_per_h_low,usd_per_h_high\nRTX 4090,70,70\nH100 SXM,70,70\n")
    assert "usd_per_h" in text
    free = "\n".join(line for line in text.splitlines() if "usd_per_h" not in line)
    Path(scenario).write_text(free, encoding="utf-8")
    assert (
        run(["simulate", scenario, "--no-compare", "--json", "--hardware-file", str(prices)]) == 0
    )
    dear = json.loads(capsys.readouterr().out)["with_checkpoints"]["figures"]["usd"]["value"]
    assert dear > 10 * usual


def test_the_keys_of_the_json_are_the_documented_ones(scenario, capsys):
    assert run(["simulate", scenario, "--json", "--hours", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    page = (Path(__file__).parents[2] / "docs" / "simulate.md").read_text(encoding="utf-8")
    shape = page.partition("## JSON")[2].partition("\n## ")[0]
    keys = [
        re.findall(r"`(\w+)`", line.split("|")[1]) for line in shape.splitlines() if "|" in line
    ]
    documented = {key for row in keys for key in row}
    assert documented == found.keys() | found["with_checkpoints"].keys()
