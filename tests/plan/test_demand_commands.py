"""`reelgrid plan demand` and `plan sora-report` as people and scripts call them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reelgrid.cli.app import run
from reelgrid.report.table import Table
from tests.plan.scenarios import PLAIN, changed

EXAMPLE = Path(__file__).parents[2] / "examples/scenarios/startup-consumer-gpus.toml"


@pytest.fixture(autouse=True)
def _own_data(tmp_path, monkeypatch):
    monkeypatch.setenv("REELGRID_DATA", str(tmp_path / "data"))


@pytest.fixture
def reelgrid(capsys):
    """Run a command line; the answer is its exit code, stdout and stderr."""

    def command(*words):
        code = run([str(word) for word in words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "scenario.toml"
    path.write_text(PLAIN, encoding="utf-8")
    return path


def test_the_answer_comes_first_then_the_uncertainty_then_the_arithmetic(reelgrid):
    code, out, err = reelgrid("plan", "demand", EXAMPLE, "--draws", 1000)
    assert code == 0
    assert err == ""
    first = out.splitlines()[0]
    assert first.startswith("A start-up on consumer GPUs: ")
    assert "depends most on app." in first
    order = [out.index(words) for words in ("GPUs by kind", "depends on\n", "What a clip takes")]
    assert order == sorted(order)


def test_json_has_every_digit_and_the_same_seed_the_same_bytes(reelgrid, scenario):
    once = reelgrid("plan", "demand", scenario, "--json", "--seed", 7)[1]
    again = reelgrid("plan", "demand", scenario, "--json", "--seed", 7)[1]
    assert once == again
    (line,) = once.splitlines()
    read = json.loads(line)
    assert read["likely"]["totals"]["gpus_at_peak"] == pytest.approx(60)
    assert read["intervals"]["kinds"]["H100 SXM"]["usd_per_h"] == {
        "low": 2.0, "likely": 2.0, "high": 2.0,
    }  # fmt: skip
    assert read["throughputs"][0]["minutes_per_gpu_hour"] == 5.0


def test_a_bad_file_is_one_line_with_exit_code_2(reelgrid, scenario):
    scenario.write_text(changed("clips_per_kept", "clips_per_keep"), encoding="utf-8")
    code, out, err = reelgrid("plan", "demand", scenario)
    assert (code, out) == (2, "")
    assert err == (
        f"reelgrid: {scenario}:7: platforms[0].clips_per_keep: unknown key 'clips_per_keep': "
        "did you mean 'clips_per_kept'?\n"
    )


def test_the_simulation_table_is_checked_by_plan_demand(reelgrid, scenario):
    scenario.write_text(PLAIN + "\n[simulation]\nhour = 3\n", encoding="utf-8")
    code, _, err = reelgrid("plan", "demand", scenario)
    assert code == 2
    assert "simulation.hour: unknown key 'hour': did you mean 'hours'?" in err


@pytest.mark.parametrize(("option", "value"), [("--draws", 99), ("--draws", 10**7), ("--seed", -1)])
def test_numbers_out_of_range_are_refused(reelgrid, scenario, option, value):
    code, _, err = reelgrid("plan", "demand", scenario, option, value)
    assert code == 2
    assert "out of range" in err
    assert err.count("\n") == 1


def test_a_page_in_a_folder_that_is_not_there_is_one_line(reelgrid, scenario, tmp_path):
    code, _, err = reelgrid("plan", "demand", scenario, "--html", tmp_path / "no" / "page.html")
    assert code == 2
    assert "there is no folder" in err


def test_the_page_holds_answer_uncertainty_and_arithmetic_and_needs_no_network(reelgrid, tmp_path):
    page = tmp_path / "page.html"
    code, _, err = reelgrid("plan", "demand", EXAMPLE, "--draws", 1000, "--html", page)
    assert (code, err) == (0, f"wrote {page}\n")
    text = page.read_text(encoding="utf-8")
    order = [text.index(f"<h2>{title}</h2>") for title in
             ("The answer", "How sure it is", "Growth", "The arithmetic", "Sources")]  # fmt: skip
    assert order == sorted(order)
    assert text.count('class="plot"') == 4
    assert not re.search(r'(src|href)="https?:', text)


def test_names_from_a_file_cannot_break_the_page(reelgrid, scenario, tmp_path):
    name = "<script>alert(1)</script>&"
    scenario.write_text(changed('name = "plain"', f"name = '{name}'"), encoding="utf-8")
    page = tmp_path / "page.html"
    assert reelgrid("plan", "demand", scenario, "--html", page)[0] == 0
    text = page.read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;" in text


def test_the_report_prints_its_figures_with_the_formulas_beside_them(reelgrid):
    code, out, _ = reelgrid("plan", "sora-report")
    assert code == 0
    assert "20 of 20 printed figures come out to the last printed digit" in out
    for words in ("989.4e12 x 3,600 / 708e15", "about 720k", "4,200-10,500", "15.3-38.1M",
                  "14.95M", "1,762,500", "measured", "RTX 4090"):  # fmt: skip
        assert words in out, words


def test_the_report_as_json_and_as_a_page(reelgrid, tmp_path):
    page = tmp_path / "sora.html"
    code, out, _ = reelgrid("plan", "sora-report", "--json", "--html", page)
    assert code == 0
    read = json.loads(out)
    assert all(row["is_reproduced"] is not False for row in read["figures"])
    text = page.read_text(encoding="utf-8")
    order = [text.index(f"<h2>{title}</h2>") for title in
             ("Contradictions", "Today's models and GPUs".replace("'", "&#39;"),
              "The arithmetic")]  # fmt: skip
    assert order == sorted(order)


def test_the_users_facts_override_the_packages(reelgrid, scenario, tmp_path):
    prices = tmp_path / "gpus.csv"
    prices.write_text("name,usd_per_h_low,usd_per_h_high\nH100 SXM,4,4\n", encoding="utf-8")
    scenario.write_text(changed("usd_per_h = 2\n", ""), encoding="utf-8")
    code, out, err = reelgrid("plan", "demand", scenario, "--json", "--hardware-file", prices)
    assert code == 0, err
    assert json.loads(out)["likely"]["kinds"]["H100 SXM"]["usd_per_h"] == pytest.approx(4)


def test_neither_command_imports_torch():
    words = ["plan", "demand", str(EXAMPLE), "--draws", "200", "--json"]
    code = (
        "import sys; from reelgrid.cli.app import run; "
        f"assert run({words!r}) == 0; assert run(['plan', 'sora-report', '--json']) == 0; "
        "assert not {'torch', 'diffusers', 'transformers', 'ray'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_table_of_an_answer_fits_its_columns(tmp_path):
    from reelgrid.plan.demand import tables as tables
    from tests.plan.test_demand import PROMISE, TRAINING, found

    answer = found(tmp_path, PLAIN + PROMISE + TRAINING)
    for make in (tables.totals_table, tables.kinds_table, tables.training_table,
                 tables.growth_table, tables.throughputs_table, tables.inputs_table):  # fmt: skip
        table = make(answer)
        assert isinstance(table, Table)
        assert table.text_rows()
