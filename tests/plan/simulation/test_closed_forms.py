"""The simulation against closed forms, within its own 95 % intervals."""

from dataclasses import replace

import pytest

from reelgrid.plan.demand.queueing import mgc_mean_wait_s, mgc_wait_exceeds
from reelgrid.plan.simulation.experiment import FOREVER_US, US
from reelgrid.plan.simulation.run import compare
from reelgrid.plan.simulation.statistics import over_runs, summarize
from tests.plan.simulation import oracles
from tests.plan.simulation.fleets import fast, pool, queueing, reference, stream


def figures(experiment, *, num_runs=16, engine="fast"):
    simulate = fast if engine == "fast" else reference
    runs = [replace(experiment, seed=experiment.seed + n) for n in range(num_runs)]
    return summarize([simulate(each) for each in runs]).figures


@pytest.mark.parametrize(
    ("num_servers", "share", "hours", "engine"),
    [
        (1, 0.5, 100, "reference"),
        (1, 0.8, 500, "fast"),
        (3, 0.8, 200, "fast"),
        (20, 0.9, 100, "fast"),
        (100, 0.95, 25, "fast"),
    ],
)
def test_exponential_jobs_wait_as_erlang_says(num_servers, share, hours, engine):
    experiment = queueing(num_servers, share, hours=hours)
    found = figures(experiment, engine=engine)
    assert found["wait_mean_s"].contains(oracles.mmc_mean_wait_s(num_servers, share, 60))
    for key, quantile in (("p90", 0.9), ("p99", 0.99)):
        expected = oracles.mmc_wait_quantile_s(num_servers, share, 60, quantile)
        assert found[f"wait_{key}_s"].contains(expected), key
    assert found["kept_share"].contains(share)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_constant_jobs_on_one_node_wait_as_pollaczek_and_khinchine_say(share):
    found = figures(queueing(1, share, work="constant", hours=2_000))
    assert found["wait_mean_s"].contains(oracles.mg1_mean_wait_s(share, 60, 0))
    assert found["wait_mean_s"].contains(mgc_mean_wait_s(1, share / 60, 60.0, 0.0))


def test_log_normal_jobs_on_one_node_wait_as_pollaczek_and_khinchine_say():
    cv2 = 1.5
    jobs = stream(0.7 * 60, 60, work="log-normal", work_sigma=0.9572)  # ln(1 + cv2) = sigma^2
    experiment = replace(queueing(1, 0.7, hours=2_000), streams=(jobs,))
    assert figures(experiment)["wait_mean_s"].contains(oracles.mg1_mean_wait_s(0.7, 60, cv2))


def test_the_planner_s_queueing_formulas_agree_with_the_simulation():
    found = figures(queueing(20, 0.9, hours=100))
    rate = 20 * 0.9 / 60
    assert found["wait_mean_s"].contains(mgc_mean_wait_s(20, rate, 60.0, 1.0))
    p95 = found["wait_p95_s"]
    assert p95.low is not None
    assert p95.high is not None
    sooner, later = (mgc_wait_exceeds(s, 20, rate, 60.0, 1.0) for s in (p95.low, p95.high))
    assert later <= 0.05 <= sooner


def test_intervals_of_batches_contain_the_truth_as_often_as_they_should():
    """Of 40 intervals at 95 %, fewer than 32 hold the value once in ten thousand times."""
    truth = oracles.mmc_mean_wait_s(3, 0.7, 60)
    held = 0
    for seed in range(40):
        run = compare(
            queueing(3, 0.7, hours=400, seed=seed), engine="fast", also_without_checkpoints=False
        )
        held += run.with_checkpoints.figures["wait_mean_s"].contains(truth)
    assert held >= 32


@pytest.mark.parametrize(("every_s", "checkpoint_s"), [(100, 5), (400, 5), (1600, 5)])
def test_the_useful_share_of_a_saturated_node_is_dalys(every_s, checkpoint_s):
    hazard_per_s = 1 / 1800
    experiment = replace(
        queueing(1, 1.0, hours=400),
        streams=(stream(10, 1e6, work="constant"),),
        pools=(
            pool(1, lifetime_scale_us=1 / hazard_per_s * US, checkpoint_every_us=every_s * US),
        ),
        checkpoint_us=checkpoint_s * US,
        lease_us=0,
    )  # fmt: skip
    expected = oracles.useful_share_with_checkpoints(hazard_per_s, every_s, checkpoint_s)
    assert figures(experiment, num_runs=12)["kept_share"].contains(expected)


@pytest.mark.parametrize("shape", [0.6, 1.0])
def test_nodes_are_leased_as_long_as_renewal_theory_says(shape):
    """The share of time leased is the mean of a lease over the mean of lease and absence."""
    from math import exp, gamma

    scale_s, absence_s, median_s, sigma = 3600.0, 900.0, 300.0, 0.8
    experiment = replace(
        queueing(50, 0.1, hours=300),
        pools=(
            pool(
                50,
                lifetime_shape=shape,
                lifetime_scale_us=scale_s * US,
                absence_mean_us=int(absence_s * US),
                startup_median_us=int(median_s * US),
                startup_sigma=sigma,
            ),
        ),
    )
    lease_s = scale_s * gamma(1 + 1 / shape) + median_s * exp(sigma**2 / 2)
    expected = lease_s / (lease_s + absence_s)
    found = figures(experiment)["leased_gpu_h"]
    assert found.contains(expected * 50 * 300)


@pytest.mark.parametrize(
    ("correlation", "shared_loss_share"), [(0.0, 1.0), (0.5, 1.0), (0.92, 0.5)]
)
def test_shared_losses_do_not_change_the_hazard_of_a_node(correlation, shared_loss_share):
    hazard_per_h = 0.1
    experiment = replace(
        queueing(20, 0.1, hours=250),
        pools=(
            pool(
                20,
                lifetime_scale_us=3600 * US / hazard_per_h,
                correlation=correlation,
                shared_loss_share=shared_loss_share,
            ),
        ),
    )
    results = [fast(replace(experiment, seed=seed)) for seed in range(24)]
    losses = over_runs([summarize([each]).events["loss"] for each in results])
    assert losses.contains(hazard_per_h * 20 * 250)


def test_a_node_without_hazard_is_never_lost():
    experiment = queueing(2, 0.5, hours=10)
    assert experiment.pools[0].lifetime_scale_us == FOREVER_US
    assert summarize([reference(experiment)]).events["loss"] == 0
