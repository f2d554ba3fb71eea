import dataclasses
import math

import numpy as np
import pytest

from reelgrid.plan.offers.demand import LeaseTerms
from reelgrid.plan.offers.lease_yield import lease_yield
from tests.plan.offer_examples import offer

LEASE = LeaseTerms(hours=100.0, load_s=300.0, checkpoint_every_s=900.0, checkpoint_s=10.0)


def simulated(offer, lease, num_lives=400_000):
    """Working and billed share of a slot that is leased, lost and leased again, draw by draw."""
    rng = np.random.default_rng(7)
    life_s = rng.exponential(3600 / offer.hazard_per_h, num_lives)
    worked_s = np.maximum(0.0, life_s - lease.load_s)
    if offer.notice_s < lease.checkpoint_s:
        worked_s = np.floor(worked_s / lease.checkpoint_every_s) * lease.checkpoint_every_s
    total_s = life_s.sum() + num_lives * offer.startup_s
    billed_s = life_s.sum() + num_lives * offer.startup_s * offer.is_startup_billed
    return worked_s.sum() / total_s, billed_s / total_s


@pytest.mark.parametrize("notice_s", [0.0, 120.0])
@pytest.mark.parametrize("is_startup_billed", [True, False])
@pytest.mark.parametrize("hazard_per_h", [0.0108, 0.3, 2.0])
def test_a_slot_works_and_is_billed_as_simulated(notice_s, is_startup_billed, hazard_per_h):
    leased = offer(
        startup_s=600.0,
        notice_s=notice_s,
        is_startup_billed=is_startup_billed,
        hazard_per_h=hazard_per_h,
    )
    found = lease_yield(leased, LEASE)
    works, billed = simulated(leased, LEASE)
    assert found.working_share == pytest.approx(works, rel=0.01)
    assert found.billed_share == pytest.approx(billed, rel=0.005)


def test_rare_losses_cost_half_a_checkpoint_interval_loading_and_start_up():
    leased = offer(startup_s=600.0, hazard_per_h=1e-4)
    lost_h = 1e-4 * (900 / 2 + 300 + 600) / 3600
    found = lease_yield(leased, LEASE)
    assert 1 - found.working_share == pytest.approx(lost_h, rel=1e-3)


def test_a_gpu_that_is_never_lost_costs_its_price_and_its_first_start():
    found = lease_yield(offer(usd_per_h=2.0, startup_s=600.0), LEASE)
    assert found.working_share == 1.0
    assert found.usd_per_h == pytest.approx(2.0 * (1 + 900 / 3600 / 100))


def test_a_gpu_that_is_lost_at_once_does_nothing():
    found = lease_yield(offer(hazard_per_h=1e4, startup_s=1e6), dataclasses.replace(LEASE))
    assert 0 <= found.working_share < 1e-9
    assert math.isfinite(found.usd_per_h)
