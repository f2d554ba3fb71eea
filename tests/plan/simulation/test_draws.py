from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from reelgrid.plan.simulation import draws
from reelgrid.plan.simulation.experiment import FOREVER_US, US
from tests.plan.simulation.fleets import kind, pool, queueing, stream

HOUR_US = 3600 * US
PROFILE = (0.0, 100.0, 400.0, 50.0)


def arrivals(experiment, **options):
    parts = [part for _, part in draws.windows(experiment, **options)]
    return {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("at_us", "stream", "work_us", "owner")
    }


def two_streams(**changes):
    return replace(
        queueing(5, 0.5, hours=40, **changes),
        kinds=(kind(2),),
        streams=(
            replace(stream(1, 60, num_owners=7), jobs_per_h=PROFILE),
            stream(30, 60, work="exponential"),
        ),
    )


def test_gaps_between_arrivals_are_exponential_and_not_clipped():
    at_us = arrivals(queueing(10, 0.5, hours=200))["at_us"]
    gaps_s = np.diff(at_us) / US
    assert stats.kstest(gaps_s, "expon", args=(0, 12.0)).pvalue > 0.01
    assert abs(gaps_s.mean() - 12) < 4 * 12 / np.sqrt(len(gaps_s))


def test_arrivals_follow_the_profile_of_the_hours():
    found = arrivals(two_streams())
    hours = found["at_us"][found["stream"] == 0] // HOUR_US % 4
    counts = np.bincount(hours, minlength=4)
    assert counts[0] == 0
    expected = np.array(PROFILE[1:]) * 10
    assert stats.chi2.sf((((counts[1:] - expected) ** 2) / expected).sum(), 3) > 0.01


def test_jobs_do_not_depend_on_the_length_of_the_windows():
    whole, parts = arrivals(two_streams()), arrivals(two_streams(), num_jobs=17)
    for name in whole:
        assert np.array_equal(whole[name], parts[name]), name


def test_streams_are_independent():
    both = arrivals(two_streams())
    alone = arrivals(replace(two_streams(), streams=two_streams().streams[:1], kinds=(kind(1),)))
    assert np.array_equal(alone["at_us"], both["at_us"][both["stream"] == 0])


def test_owners_send_equally_often_and_other_jobs_have_no_owner():
    found = arrivals(two_streams())
    owners = found["owner"][found["stream"] == 0]
    assert stats.chisquare(np.bincount(owners, minlength=7)).pvalue > 0.01
    assert set(found["owner"][found["stream"] == 1]) == {-1}


@pytest.mark.parametrize(
    ("work", "sigma", "cv"), [("constant", 0, 0), ("exponential", 0, 1), ("log-normal", 0.5, 0.533)]
)
def test_work_has_the_mean_and_the_spread_it_should(work, sigma, cv):
    jobs = stream(600, 60, work=work, work_sigma=sigma)
    found = arrivals(replace(queueing(10, 0.5, hours=200), streams=(jobs,)))["work_us"] / US
    assert abs(found.mean() - 60) < 4 * 60 * cv / np.sqrt(len(found)) + 1e-9
    assert found.std() / 60 == pytest.approx(cv, rel=0.05)


def stays_of(number, **changes):
    return draws.lease_draws(replace(queueing(1, 0.5), pools=(pool(20_000, **changes),)), number)


def test_lifetimes_are_weibull_and_start_ups_log_normal():
    found = stays_of(
        1,
        lifetime_shape=0.6,
        lifetime_scale_us=1.75 * HOUR_US,
        startup_median_us=600 * US,
        startup_sigma=0.95,
        absence_mean_us=900 * US,
    )
    lifetime = stats.kstest(found.lifetime_us, "weibull_min", args=(0.6, 0, 1.75 * HOUR_US))
    start = stats.kstest(found.startup_us, "lognorm", args=(0.95, 0, 600 * US))
    absence = stats.kstest(found.absence_us, "expon", args=(0, 900 * US))
    assert min(lifetime.pvalue, start.pvalue, absence.pvalue) > 0.01


def test_churn_as_measured_by_its_two_sources():
    """Salad's start-up: 80 % by 20 min, 90 % by 40; AWS: mean run 3.2 h, median 0.54 h or so."""
    found = stays_of(1, startup_median_us=600 * US, startup_sigma=0.95)
    minutes = found.startup_us / US / 60
    assert np.quantile(minutes, 0.8) == pytest.approx(20, rel=0.15)
    assert np.quantile(minutes, 0.9) == pytest.approx(40, rel=0.2)
    spot = stays_of(1, lifetime_shape=0.6, lifetime_scale_us=1.75 * HOUR_US).lifetime_us / HOUR_US
    assert spot.mean() == pytest.approx(3.2, rel=0.25)
    assert np.median(spot) < 1.0


def test_shares_of_a_weibull_hazard_add_up_to_the_whole():
    """The minimum of an own lifetime and the first shared loss has the pool's distribution."""
    changes = {"lifetime_shape": 0.6, "lifetime_scale_us": float(HOUR_US), "correlation": 0.7}
    own = stays_of(1, **changes).lifetime_us
    strike_us = (
        0.7 ** (-1 / 0.6) * HOUR_US * np.random.default_rng(0).exponential(size=20_000) ** (1 / 0.6)
    )
    first = np.minimum(own, strike_us)
    assert stats.kstest(first, "weibull_min", args=(0.6, 0, HOUR_US)).pvalue > 0.01


def test_shared_losses_take_a_whole_pool_within_three_minutes_and_no_other():
    zone = pool(50, lifetime_scale_us=10.0 * HOUR_US, correlation=1.0)
    experiment = replace(queueing(1, 0.5, hours=100), pools=(zone, pool(30)))
    at_us, nodes = draws.shared_losses(experiment)
    assert len(at_us) % 50 == 0
    for first in range(0, len(at_us), 50):
        assert at_us[first + 49] - at_us[first] < 180 * US
        assert set(nodes[first : first + 50]) == set(range(50))


def test_without_correlation_no_loss_is_shared_and_without_hazard_no_node_is_lost():
    experiment = replace(queueing(1, 0.5), pools=(pool(5, lifetime_scale_us=float(HOUR_US)),))
    assert len(draws.shared_losses(experiment)[0]) == 0
    assert (stays_of(0).lifetime_us == FOREVER_US).all()


def test_a_fleet_that_is_not_ready_starts_up():
    experiment = queueing(1, 0.5, pools=(pool(50, startup_median_us=600 * US),))
    assert (draws.lease_draws(experiment, 0).startup_us == 0).all()
    cold = replace(experiment, is_fleet_ready=False)
    assert (draws.lease_draws(cold, 0).startup_us == 600 * US).all()
