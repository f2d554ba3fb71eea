"""Runs computed by hand, and the effect of a changed experiment on its results."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from reelgrid.jobs.policy import Priority
from reelgrid.plan.simulation import draws
from reelgrid.plan.simulation.experiment import FOREVER_US, US, Experiment
from reelgrid.plan.simulation.result import EventType, TimeUse
from reelgrid.plan.simulation.statistics import summarize
from tests.plan.simulation.fleets import fast, kind, pool, queueing, reference, stream

CHURN = {
    "lifetime_scale_us": 1800.0 * US,
    "startup_median_us": 120 * US,
    "checkpoint_every_us": 20 * US,
}


@pytest.fixture
def by_hand(monkeypatch):
    """Run one node with given lifetimes and jobs that arrive at given seconds."""

    def run(arrivals, lifetimes=(), engine=reference, **changes):
        def lease_draws(experiment, number):
            lifetime_us = lifetimes[number] * US if number < len(lifetimes) else FOREVER_US
            one = np.array([0]), np.array([lifetime_us]), np.array([30 * US])
            return draws.LeaseDraws(startup_us=one[0], lifetime_us=one[1], absence_us=one[2])

        def windows(experiment, num_jobs=0):
            at_us = np.array([at for at, *_ in arrivals], np.int64) * US
            yield (
                experiment.horizon_us,
                draws.Arrivals(
                    at_us=at_us,
                    stream=np.array([which for _, which, _ in arrivals], np.int16),
                    work_us=np.array([work for *_, work in arrivals], np.int64) * US,
                    owner=np.full(len(arrivals), -1, np.int32),
                ),
            )

        monkeypatch.setattr(draws, "lease_draws", lease_draws)
        monkeypatch.setattr(draws, "windows", windows)
        values: dict[str, Any] = {
            "kinds": (kind(2, load_us=10 * US),),
            "pools": (pool(1, checkpoint_every_us=30 * US),),
            "streams": (
                stream(1, 100, priority=Priority.LOW),
                stream(1, 10, platform="two", priority=Priority.HIGH),
            ),
            "horizon_us": 1000 * US,
            "checkpoint_us": 2 * US,
            "resume_us": 5 * US,
        }
        return engine(Experiment(**values | changes))

    return run


def seconds(result):
    return {
        time_use.name: result.time_use_us[0, time_use] / US
        for time_use in TimeUse
        if result.time_use_us[0, time_use]
    }


@pytest.mark.parametrize("engine", [reference, fast])
def test_one_job_by_hand(by_hand, engine):
    """Loads for 10 s, works for 100 s with a checkpoint of 2 s after 30, 60 and 90."""
    result = by_hand([(5, 0, 100)], engine=engine)
    assert result.wait_us.tolist() == [0]
    assert result.turnaround_us.tolist() == [(10 + 100 + 6) * US]
    assert seconds(result) == {"LOADING": 10, "USEFUL": 100, "CHECKPOINTING": 6, "IDLE": 884}


@pytest.mark.parametrize("engine", [reference, fast])
def test_a_loss_by_hand(by_hand, engine):
    """Lost at 110, 95 s in: checkpoints after 30 and 60 s of work, lost 1 s into the checkpoint after 90.

    Leased again at 140 and ready at once; the loss is detected at 130 and the job starts at 140: loads
    10 s, loads its checkpoint in 5 s, works the remaining 40 s with one checkpoint; 30 s are redone.
    """
    result = by_hand([(5, 0, 100)], lifetimes=[110], engine=engine)
    assert seconds(result) == {
        "LOADING": 20,
        "USEFUL": 60 + 10,
        "LOST": 30,
        "REDONE": 30,
        "CHECKPOINTING": (2 + 2 + 1) + 5 + 2,
        "ABSENT": 30,
        "IDLE": 5 + (1000 - 140 - 10 - 5 - 42),
    }
    assert result.turnaround_us.tolist() == [(140 + 10 + 5 + 42 - 5) * US]


@pytest.mark.parametrize("engine", [reference, fast])
def test_a_loss_by_hand_without_checkpoints_and_detected_late(by_hand, engine):
    """Lost at 100, leased again at 130, detected at 160: all 100 s again, 85 of them redone."""
    result = by_hand(
        [(5, 0, 100)], lifetimes=[100], engine=engine, has_checkpoints=False, lease_us=60 * US
    )
    assert seconds(result) == {
        "LOADING": 20,
        "LOST": 85,
        "REDONE": 85,
        "USEFUL": 15,
        "ABSENT": 30,
        "IDLE": 5 + 30 + (1000 - 160 - 110),
    }
    assert result.turnaround_us.tolist() == [(160 + 110 - 5) * US]


@pytest.mark.parametrize("engine", [reference, fast])
def test_a_warned_node_takes_a_last_checkpoint_and_loses_nothing(by_hand, engine):
    warned = pool(1, checkpoint_every_us=0, notice_us=20 * US)
    result = by_hand([(5, 0, 100)], lifetimes=[100], engine=engine, pools=(warned,))
    assert "LOST" not in seconds(result)
    assert result.events[EventType.NOTICE] == 1
    assert seconds(result)["CHECKPOINTING"] == 2 + 5
    assert result.turnaround_us.tolist() == [(130 + 10 + 5 + (100 - 83) - 5) * US]


@pytest.mark.parametrize("engine", [reference, fast])
def test_preemption_by_hand(by_hand, engine):
    """A short job of high priority arrives at 50: checkpoint in 2 s, 10 s of work, then the first job."""
    one_model = (kind(2, load_us=0),)
    result = by_hand([(0, 0, 100), (50, 1, 10)], engine=engine, kinds=one_model, pools=(pool(1),))
    assert result.events[EventType.PREEMPT] == 1
    assert result.wait_us.tolist() == [0, 2 * US]
    assert result.turnaround_us.tolist() == [(50 + 2 + 10 + 5 + 50) * US, 12 * US]
    assert seconds(result) == {"USEFUL": 110, "CHECKPOINTING": 7, "IDLE": 883}


def test_runs_with_and_without_checkpoints_have_the_same_jobs_and_losses():
    experiment = replace(queueing(8, 0.7, hours=20), pools=(pool(8, **CHURN),), checkpoint_us=US)
    with_checkpoints, without = reference(experiment), reference(experiment.without_checkpoints())
    assert np.array_equal(with_checkpoints.arrived_us, without.arrived_us)
    for event in (EventType.READY, EventType.LOSS, EventType.LEASE):
        assert with_checkpoints.events[event] == without.events[event]
    time_use = (TimeUse.ABSENT, TimeUse.STARTING)
    assert (with_checkpoints.time_use_us[:, time_use] == without.time_use_us[:, time_use]).all()
    assert with_checkpoints.time_use_us[0, TimeUse.LOST] < without.time_use_us[0, TimeUse.LOST]


def test_one_more_node_makes_no_job_wait_longer():
    """Kiefer and Wolfowitz 1955: first come, first served, node for node, job for job."""
    few = replace(queueing(5, 0.9, hours=50), pools=(pool(5),))
    more = replace(few, pools=(pool(5), pool(1, name="another")))
    assert (reference(more).wait_us <= reference(few).wait_us)[reference(few).wait_us >= 0].all()


def test_waits_double_when_every_time_doubles():
    fast = queueing(3, 0.9, work="constant", hours=50)
    slow = replace(
        fast,
        horizon_us=2 * fast.horizon_us,
        warm_up_us=2 * fast.warm_up_us,
        streams=(stream(0.9 * 3 * 30, 120),),
    )
    fast_us, slow_us = reference(fast).wait_us, reference(slow).wait_us
    count = min(len(fast_us), len(slow_us))
    assert np.allclose(2 * fast_us[:count], slow_us[:count], atol=100)  # of whole microseconds
    assert slow_us.max() > 60 * US


def test_short_jobs_first_lowers_the_mean_wait():
    blind = queueing(3, 0.9, hours=200)
    seeing = replace(blind, estimates="exact")
    means = [summarize([reference(each)]).figures["wait_mean_s"].value for each in (blind, seeing)]
    assert means[1] < 0.8 * means[0]


def test_preemption_shortens_waits_of_urgent_jobs_and_loses_no_work():
    jobs = (
        stream(5, 1800, priority=Priority.LOW),
        stream(20, 60, platform="urgent", priority=Priority.HIGH),
    )
    experiment = replace(
        queueing(4, 0.9, hours=200), streams=jobs, kinds=(kind(2),), checkpoint_us=US, resume_us=US
    )
    preempting = reference(replace(experiment, has_preemption=True))
    staying = reference(experiment)
    urgent = [
        summarize([each]).by_priority["high"]["wait_p95_s"].value for each in (preempting, staying)
    ]
    assert urgent[0] < 0.2 * urgent[1]
    assert preempting.time_use_us[0, TimeUse.LOST] == 0


def test_more_frequent_free_checkpoints_lose_less_work():
    lost = []
    for every_s in (0, 300, 60, 10):
        fleet = pool(10, lifetime_scale_us=1800.0 * US, checkpoint_every_us=every_s * US)
        experiment = replace(queueing(10, 0.3, hours=100), pools=(fleet,))
        jobs = (stream(6, 1200, work="exponential"),)
        lost.append(int(reference(replace(experiment, streams=jobs)).time_use_us[0, TimeUse.LOST]))
    assert lost == sorted(lost, reverse=True)
    assert lost[-1] < lost[0] / 50


def test_half_a_fleet_in_another_zone_shortens_waits_when_nodes_go_together():
    """Each half runs all jobs while the other is absent."""
    values = {
        "lifetime_scale_us": 4 * 3600.0 * US,
        "correlation": 1.0,
        "absence_mean_us": 1800 * US,
    }
    apart = (pool(5, **values), pool(5, name="other", **values))
    waits = []
    for pools in ((pool(10, **values),), apart):
        experiment = queueing(10, 0.4, hours=150, pools=pools)
        waits.append(summarize([reference(experiment)]).figures["wait_mean_s"].value)
    assert waits[1] < 0.5 * waits[0]


def test_the_chart_samples_consistent_gauges():
    experiment = replace(queueing(6, 0.9, hours=30), pools=(pool(6, **CHURN),))
    waiting, busy, up, leased = reference(experiment).chart.T
    assert len(waiting) == 360
    assert (busy <= up).all()
    assert (up <= leased).all()
    assert waiting.max() > 0
    assert busy.mean() == pytest.approx(0.9 * 6, rel=0.2)
