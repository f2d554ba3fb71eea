"""Both engines obey the conservation laws and agree event for event."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelgrid.errors import RequestError
from reelgrid.jobs import policy
from reelgrid.jobs.policy import Priority
from reelgrid.plan.simulation import draws, run
from reelgrid.plan.simulation.experiment import US
from reelgrid.plan.simulation.fast import engine as fast_engine
from reelgrid.plan.simulation.fast import ledger, nodes
from reelgrid.plan.simulation.reference.engine import ReferenceEngine
from reelgrid.plan.simulation.result import EventType, TimeUse
from tests.plan.simulation.fleets import (
    fast,
    kind,
    pool,
    queueing,
    random_experiment,
    reference,
    stream,
)

experiments = st.builds(random_experiment, st.integers(0, 10**9))


def assert_equal(one, other):
    assert one.digest == other.digest
    for field in fields(one):
        first, second = getattr(one, field.name), getattr(other, field.name)
        same = np.array_equal(first, second) if isinstance(first, np.ndarray) else first == second
        assert same, field.name


@given(experiments)
@settings(max_examples=150)
def test_the_fast_engine_agrees_with_the_reference_event_for_event(experiment):
    assert_equal(reference(experiment), fast(experiment))


def test_the_engines_agree_on_a_day_of_a_larger_fleet():
    jobs = (
        stream(900, 600, work="log-normal", work_sigma=0.7, num_owners=40),
        stream(
            200,
            120,
            platform="two",
            model="n",
            priority=Priority.HIGH,
            first_owner=40,
            num_owners=5,
        ),
    )
    fleet = tuple(
        pool(
            60,
            name=f"zone {zone}",
            kind=zone % 2,
            lifetime_shape=0.6,
            lifetime_scale_us=1.75 * 3600 * US,
            correlation=0.92,
            notice_us=120 * US if zone else 0,
            absence_mean_us=600 * US,
            startup_median_us=600 * US,
            startup_sigma=0.95,
            checkpoint_every_us=147 * US,
        )
        for zone in range(3)
    )
    experiment = replace(
        random_experiment(1),
        streams=jobs,
        kinds=(kind(2, load_us=40 * US), kind(2, name="4090", time_factor=(2.3, 1.7))),
        pools=fleet,
        horizon_us=2 * 3600 * US,
        has_preemption=True,
        has_checkpoints=True,
    )
    found = fast(experiment)
    assert found.events[EventType.PREEMPT] > 20
    assert found.events[EventType.LOSS] > 50
    assert_equal(reference(experiment), found)


def test_the_engines_agree_when_the_fast_one_is_not_compiled(monkeypatch):
    """The functions that numba compiles, run by Python."""

    def interpreted(function):
        def call(state, *arguments):
            records = {
                name: getattr(state, name).view(np.recarray)
                for name in ("kinds", "pools", "streams", "nodes", "treap", "jobs", "event_heap")
            }
            with np.errstate(over="ignore"):
                return function(state._replace(**records), *arguments)

        return call

    functions = (nodes.begin, nodes.advance, ledger.close)
    monkeypatch.setattr(fast_engine, "_compiled", lambda: tuple(map(interpreted, functions)))
    for seed in (0, 3, 7, 11):
        experiment = random_experiment(seed)
        assert_equal(reference(experiment), fast(experiment))


@given(experiments)
@settings(max_examples=60)
def test_every_microsecond_and_every_job_is_counted_once(experiment):
    result = reference(experiment)
    assert list(result.conservation_errors()) == []


@given(experiments)
@settings(max_examples=60)
def test_on_equal_gpus_useful_and_redone_time_is_the_kept_work(experiment):
    alike = tuple(
        replace(kind, time_factor=(1.0,) * len(experiment.streams)) for kind in experiment.kinds
    )
    result = reference(replace(experiment, kinds=alike))
    time_use_us = result.time_use_us.sum(axis=0)
    assert time_use_us[TimeUse.USEFUL] + time_use_us[TimeUse.REDONE] == result.work_us.sum()
    assert time_use_us[TimeUse.REDONE] <= time_use_us[TimeUse.LOST]


@given(experiments)
@settings(max_examples=40)
def test_the_event_log_is_a_possible_history(experiment):
    """Jobs start after their arrival, on one node at a time, and finish once; nodes likewise."""
    engine = ReferenceEngine(experiment, keeps_log=True)
    for end_us, arrivals in draws.windows(experiment):
        engine.run_until(end_us, arrivals)
    on: dict[int, int] = {}
    done: set[int] = set()
    up: set[int] = set()
    now_us = 0
    for time_us, event, node, job in engine.ledger.log:
        assert time_us >= now_us
        now_us = time_us
        if event == EventType.START:
            assert node in up
            assert node not in on.values()
            assert job not in on
            assert job not in done
            on[job] = node
        elif event in {EventType.FINISH, EventType.CHECKPOINTED}:
            assert on.pop(job) == node
            done |= {job} if event == EventType.FINISH else set()
        elif event == EventType.LOSS:
            up.remove(node)
            assert job < 0 or on.pop(job) == node
        elif event == EventType.READY:
            assert node not in up
            up.add(node)
    assert len(done) == engine.close().events[EventType.FINISH]


def test_the_same_seed_gives_the_same_bytes_and_another_does_not():
    one, same = reference(queueing(2, 0.9, hours=5)), reference(queueing(2, 0.9, hours=5))
    assert_equal(one, same)
    assert one.digest != reference(queueing(2, 0.9, hours=5, seed=1)).digest


def test_a_changed_policy_invalidates_the_compiled_code(monkeypatch, tmp_path):
    before = fast_engine._source_digest()
    changed = tmp_path / "policy.py"
    changed.write_bytes(Path(str(policy.__file__)).read_bytes() + b"\n")
    monkeypatch.setattr(policy, "__file__", str(changed))
    assert fast_engine._source_digest() != before


def test_without_numba_small_fleets_run_and_the_fast_engine_names_the_missing_package(monkeypatch):
    monkeypatch.setattr(run, "find_spec", lambda name: None)
    assert (
        run.compare(queueing(1, 0.5, hours=1), also_without_checkpoints=False).engine == "reference"
    )
    with pytest.raises(RequestError, match=r'pip install "reelgrid\[plan\]"'):
        run.compare(queueing(1, 0.5, hours=1), engine="fast")


def test_large_experiments_run_on_the_fast_engine():
    assert run.choose_engine(queueing(3, 0.8, hours=10)) == "reference"
    assert run.choose_engine(queueing(5_000, 0.8, hours=1)) == "fast"
    assert run.choose_engine(queueing(100, 0.8, hours=2_000)) == "fast"
