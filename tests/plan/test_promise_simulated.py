"""The fleet that `plan demand` computes for a promise keeps it in `simulate`."""

import json

import pytest

from reelgrid.cli.app import run
from tests.plan.scenarios import changed

LOAD = 100 / 3
"""Clips of 200 s, one every 6 s."""

SIMULATION = """
[promise]
wait_s = {wait_s}
[simulation]
hours = 200
warm_up_h = 2
seed = 5
estimates = "mean"  # nobody passes for being short: first come, first served
[[simulation.nodes]]
gpu = "H100 SXM"
count = {count}
"""


def text_of(count, wait_s, work_cv):
    text = changed("minutes_per_day = 1200", "minutes_per_day = 2880")
    text = changed("clips_per_kept = 2", "clips_per_kept = 1", text)
    text = changed("peak_to_mean = 3", "", text)
    text = changed("minutes_per_gpu_hour = 5", "seconds_per_clip = 200", text)
    text = changed("clip_s = 6", f"clip_s = 6\nwork_cv = {work_cv}", text)
    return text + SIMULATION.format(count=count, wait_s=wait_s)


@pytest.mark.parametrize(("work_cv", "wait_s"), [(0, 10), (1, 60), (1.5, 10)])
def test_the_promise_holds_in_the_simulation_and_not_with_a_few_gpus_less(
    work_cv, wait_s, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("REELGRID_DATA", str(tmp_path / "data"))
    path = tmp_path / "scenario.toml"

    def reelgrid(count, *words):
        path.write_text(text_of(count, wait_s, work_cv), encoding="utf-8")
        assert run([*words[:-1], str(path), *words[-1:]]) == 0
        return json.loads(capsys.readouterr().out)

    held = int(reelgrid(1, "plan", "demand", "--json")["likely"]["totals"]["gpus_held"])
    assert held > LOAD

    def kept(count):
        found = reelgrid(count, "simulate", "--no-compare", "--engine", "fast", "--json")
        return found["with_checkpoints"]["figures"]["within_promise_share"]["value"]

    assert kept(held) >= 0.94, held
    assert kept(held - 2) < 0.95
