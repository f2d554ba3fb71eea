import json

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
    assert "8 nodes, 12.0 h" in out
    assert "95 % of the clips wait at most" in out
    assert "What the leased hours went into" in out
    assert "events in" in err


def test_json_is_the_same_bytes_for_the_same_seed_on_both_engines(scenario, capsys):
    texts = []
    for options in ([], [], ["--engine", "compiled"], ["--seed", "5"]):
        assert run(["simulate", scenario, "--json", *options]) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] == texts[2] != texts[3]
    figures = json.loads(texts[0])
    assert figures["num_nodes"] == 8
    assert figures["with_state"]["figures"]["leased_gpu_h"]["value"] > 0
    spent = figures["with_state"]["gpu_hours"]
    assert sum(spent.values()) == pytest.approx(12 * (5 + 3 * 2))


def test_several_runs_give_intervals(scenario, capsys):
    assert run(["simulate", scenario, "--json", "--runs", "4", "--hours", "6"]) == 0
    found = json.loads(capsys.readouterr().out)["with_state"]["figures"]["wait_mean_s"]
    assert found["low"] < found["value"] < found["high"]


def test_a_page_holds_the_answer_and_the_charts(scenario, tmp_path, capsys):
    page = tmp_path / "day.html"
    assert run(["simulate", scenario, "--no-compare", "--html", str(page)]) == 0
    answer = capsys.readouterr().out.strip().splitlines()[-1]
    text = page.read_text(encoding="utf-8")
    assert answer.split(".")[0] in text
    assert "Jobs that wait" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.toml"], "missing.toml"),
        (["--runs", "0"], "runs"),
        (["--hours", "-1"], "hours"),
        (["--engine", "quick"], "engine"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(scenario, arguments, message, capsys):
    words = arguments if arguments[0].endswith("toml") else [scenario, *arguments]
    assert run(["simulate", *words]) == 2
    err = capsys.readouterr().err.strip()
    assert message in err
    assert "\n" not in err
