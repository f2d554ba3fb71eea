"""A simulation that takes minutes ends at Ctrl-C, not when it is done."""

import _thread
import time

import pytest

from reelgrid.plan.facts.known import shipped_facts
from reelgrid.plan.scenario import read_scenario
from reelgrid.plan.simulation import build, run
from tests.plan.simulation.test_build import SCENARIO


def test_ctrl_c_reaches_runs_on_threads(tmp_path, monkeypatch):
    path = tmp_path / "scenario.toml"
    path.write_text(SCENARIO, encoding="utf-8")
    scenario = read_scenario(path)
    experiment = build.experiment_of(scenario, build.read_simulation(scenario), shipped_facts())
    begun, ended = [], []

    def endless(_, *, on_time):
        begun.append(True)
        if len(begun) == 2:  # once: a second one would break off the wait for the threads
            _thread.interrupt_main()
        for step in range(3_000):
            on_time(step)
            time.sleep(0.001)
        ended.append(True)

    monkeypatch.setattr(run, "_engine", lambda engine: endless)
    with pytest.raises(KeyboardInterrupt):
        run.compare(experiment, num_runs=2, is_compared=False, engine="fast")
    assert not ended
