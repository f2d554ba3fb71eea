"""`reelgrid plan hardware | models | predict` as people type them."""

import json
import subprocess
import sys

import pytest

from reelgrid.cli.app import run
from reelgrid.measurement import append_records
from reelgrid.plan.facts.architectures import read_architectures
from reelgrid.plan.facts.hardware import read_hardware
from reelgrid.plan.prediction import calibrate
from reelgrid.plan.prediction.fit import training_set
from tests.plan.test_facts import MINE
from tests.plan.test_predict import record
from tests.plan.test_recalibration import RECORDS

CLIP = ("--model", "wan2.1-t2v-14b", "--size", "832x480", "--frames", "81", "--steps", "50")


@pytest.fixture
def plan(tmp_path, monkeypatch, capsys):
    """Run `reelgrid plan ...`; the answer is its exit code, stdout and stderr."""
    monkeypatch.setenv("REELGRID_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)

    def command(*words):
        code = run(["plan", *(str(word) for word in words)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


def test_hardware_is_a_table_and_json(plan):
    code, out, _ = plan("hardware")
    assert code == 0
    assert all(name in out for name in read_hardware())
    lines = [json.loads(line) for line in plan("hardware", "--json")[1].splitlines()]
    assert [line["name"] for line in lines] == list(read_hardware())
    assert all(line["source"] and line["date"] for line in lines)


def test_prices_and_churn_are_printed_too(plan):
    assert "TensorWave" in plan("hardware", "--prices")[1]
    assert "salad-consumer" in plan("hardware", "--churn")[1]
    prices = [json.loads(line) for line in plan("hardware", "--prices", "--json")[1].splitlines()]
    assert {"gpu", "provider", "usd_per_h", "source", "date"} <= prices[0].keys()


def test_models_are_a_table_and_json(plan):
    code, out, _ = plan("models")
    assert code == 0
    assert all(name in out for name in read_architectures())
    lines = {
        each["name"]: each for each in map(json.loads, plan("models", "--json")[1].splitlines())
    }
    assert lines["wan2.1-t2v-14b"]["flops"] == pytest.approx(6.527e17, rel=1e-3)


def test_predict_prints_everything_that_was_asked_for(plan):
    code, out, _ = plan("predict", *CLIP, "--gpu", "4090")
    assert code == 0
    for word in ("time", "GPU-hour", "peak", "energy", "cost", "memory", "Sources", "80 %"):
        assert word in out


def test_predict_as_json_has_numbers_with_units_in_their_names(plan):
    answer = json.loads(plan("predict", *CLIP, "--gpu", "l40s", "--json")[1])
    assert answer["gpu"] == "L40S"
    assert answer["seconds"]["low"] < answer["seconds"]["likely"] < answer["seconds"]["high"]
    assert answer["memory"]["total_gib"] > 30
    assert answer["basis"][0].startswith("formula")


def test_several_gpus_are_compared(plan):
    code, out, _ = plan("predict", *CLIP, "--gpu", "h100", "--gpu", "mi300x")
    assert code == 0
    assert "H100 SXM" in out
    assert "MI300X" in out
    lines = plan("predict", *CLIP, "--gpu", "all", "--json")[1].splitlines()
    assert len(lines) == len(read_hardware())


def test_a_measurement_in_the_data_folder_is_used_and_named(plan, tmp_path):
    append_records(tmp_path / "data" / "bench.jsonl", [record()])
    answer = json.loads(plan("predict", *CLIP, "--gpu", "l40s", "--json")[1])
    assert answer["seconds"]["likely"] == pytest.approx(2000.0)
    assert answer["basis"][0].startswith("measured")


def test_a_torn_line_among_the_measurements_ends_no_command(plan, tmp_path):
    path = tmp_path / "data" / "bench.jsonl"
    append_records(path, [record()])
    path.write_text(path.read_text(encoding="utf-8") + '{"measured_at": "20', encoding="utf-8")
    code, out, _ = plan("predict", *CLIP, "--gpu", "l40s", "--json")
    assert (code, json.loads(out)["basis"][0].split()[0]) == (0, "measured")


def test_measurements_of_another_file_are_used(plan, tmp_path):
    append_records(tmp_path / "mine.jsonl", [record()])
    words = ("--measurements", tmp_path / "mine.jsonl", "--json")
    assert json.loads(plan("predict", *CLIP, "--gpu", "l40s", *words)[1])["basis"][0].startswith(
        "measured"
    )


def test_the_users_own_gpus_and_models_are_used(plan, tmp_path):
    (tmp_path / "gpus.csv").write_text("name,usd_per_h_low,usd_per_h_high\nL40S,0.1,0.1\n")
    (tmp_path / "mine.toml").write_text(MINE)
    words = ("--hardware-file", "gpus.csv", "--models-file", "mine.toml", "--json")
    answer = json.loads(plan("predict", "--model", "my-model", "--gpu", "l40s", *words)[1])
    assert answer["usd"]["likely"] == pytest.approx(answer["seconds"]["likely"] / 3600 * 0.1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--gpu", "4085", *CLIP), "no GPU is called '4085'; similar: RTX 4080"),
        (("--gpu", "h100", "--model", "wan3"), "no architecture is known of 'wan3'"),
        (("--gpu", "h100", "--model", "wan-14b", "--size", "big"), "is not WIDTHxHEIGHT"),
        (("--gpu", "h100", "--model", "wan-14b", "--size", "833x480"), "nearest: 832x480"),
        (("--gpu", "h100", "--model", "wan-14b", "--frames", "80"), "nearest: 77, 81"),
        (("--gpu", "h100", "--model", "wan-14b", "--steps", "0"), "steps 0 is out of range"),
        (("--gpu", "h100", "--model", "wan-14b", "--gpus", "0"), "0 GPUs are out of range"),
        (("--gpu", "h100", "--model", "wan-14b", "--kernel", "x"), "no kernel is called 'x'"),
        (("--gpu", "h100", "--model", "wan-14b", "--measurements", "no"), "no cannot be read"),
        (("--gpu", "h100", "--model", "wan-14b", "--models-file", "no"), "no cannot be read"),
        (
            ("--gpu", "t4", "--model", "wan-14b", "--size", "8000x8000", "--frames", "801"),
            "does not fit on T4",
        ),
        (("--gpu", "h100", "--model", "embedded"), "no architecture is known of 'embedded'"),
    ],
)
def test_a_wrong_option_is_refused_in_one_line_with_exit_code_2(plan, words, message):
    code, out, err = plan("predict", *words)
    assert code == 2
    assert not out
    assert err.startswith("reelgrid: ")
    assert err.count("\n") == 1
    assert message in err


def test_planning_needs_no_torch_no_scipy_and_no_plotly(tmp_path):
    program = (
        "import sys\n"
        "for name in ('torch', 'diffusers', 'transformers', 'scipy', 'plotly', 'numba'):\n"
        "    sys.modules[name] = None\n"
        "from reelgrid.cli.app import run\n"
        "codes = [run(['plan', 'hardware']), run(['plan', 'models']),\n"
        "         run(['plan', 'predict', '--model', 'wan-14b', '--gpu', 'h100'])]\n"
        "sys.exit(max(codes))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={"REELGRID_DATA": str(tmp_path), "PATH": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "minutes of video per GPU-hour" in done.stdout


def test_a_page_is_written_that_opens_without_a_network(plan, tmp_path):
    pytest.importorskip("plotly")
    code, _, err = plan("predict", *CLIP, "--gpu", "h100", "--gpu", "l40s", "--html", "page.html")
    assert code == 0
    assert "wrote page.html" in err
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "L40S" in page
    assert "80 %" in page
    assert 'src="http' not in page
    assert plan("predict", *CLIP, "--gpu", "h100", "--html", "no/page.html")[0] == 2


def test_the_users_own_published_latencies_are_used_and_named(plan, tmp_path):
    text = (
        "name,model,gpu,num_gpus,size,frames,forwards,seconds,source,date\n"
        "mine,wan-14b,l40s,1,832x480,81,100,1234,a friend,2026-12\n"
    )
    (tmp_path / "mine.csv").write_text(text)
    words = ("predict", *CLIP, "--gpu", "l40s", "--json")
    answer = json.loads(plan(*words, "--latencies-file", "mine.csv")[1])
    assert answer["seconds"]["likely"] == pytest.approx(1234)
    assert answer["basis"][0].startswith("published: a friend (2026-12)")
    assert json.loads(plan(*words)[1])["basis"][0].startswith("formula")
    folder = tmp_path / "data" / "facts"
    folder.mkdir(parents=True)
    (folder / "latencies.csv").write_text(text)
    assert json.loads(plan(*words)[1])["seconds"]["likely"] == pytest.approx(1234)


def test_the_users_own_prices_and_churn_are_printed(plan, tmp_path):
    folder = tmp_path / "data" / "facts"
    folder.mkdir(parents=True)
    (folder / "prices.csv").write_text(
        "name,gpu,provider,usd_per_h,date\nmine,L40S,a cellar,0.2,2026-12\n"
    )
    (folder / "churn.csv").write_text("name,hazard_per_h,date\ncellar,0.5,2026-12\n")
    assert "a cellar" in plan("hardware", "--prices")[1]
    assert "cellar" in plan("hardware", "--churn")[1]


def test_calibrate_prints_the_errors_and_keeps_the_refit_where_predict_reads_it(
    plan, tmp_path, monkeypatch
):
    few = [each for each in training_set() if each.source_name in {"Wan2.1", "CogVideo"}]
    monkeypatch.setattr(calibrate, "training_set", lambda: few)
    append_records(tmp_path / "data" / "bench.jsonl", RECORDS)
    code, out, err = plan("calibrate", "--dry-run")
    assert (code, "wrote" in err) == (0, False)
    assert "your measurements, before" in out
    assert not (tmp_path / "data" / "facts").exists()
    code, out, err = plan("calibrate", "--json")
    answer = json.loads(out)
    path = tmp_path / "data" / "facts" / "calibration.json"
    assert (code, answer["file"]) == (0, str(path))
    errors = answer["errors"]
    assert (
        errors["your measurements, after"]["median"] < errors["your measurements, before"]["median"]
    )
    assert len(answer["observations"]) == len(RECORDS)
    assert answer["observations"][0]["relative_error_before"] < -0.2
    (tmp_path / "data" / "bench.jsonl").unlink()
    words = ("--model", "wan2.1-t2v-1.3b", "--frames", "49", "--gpu", "3090", "--json")
    refitted = json.loads(plan("predict", *words)[1])
    assert "refitted with your measurements" in refitted["basis"][0]
    path.unlink()
    shipped = json.loads(plan("predict", *words)[1])
    assert shipped["seconds"]["likely"] < refitted["seconds"]["likely"]


def test_calibrate_without_usable_measurements_is_refused_in_one_line(plan):
    code, out, err = plan("calibrate")
    assert (code, out) == (2, "")
    assert "got none among 0 records" in err
