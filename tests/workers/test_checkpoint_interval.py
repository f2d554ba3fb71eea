import math

import numpy as np
import pytest

from reelgrid.workers.checkpoints import checkpoint_interval_s, daly_interval_s


def expected_wall_s(interval_s, cost_s, between_failures_s):
    """Wall time of one second of work (Daly 2006, eq. 20, without the restart, which is constant)."""
    return (
        between_failures_s * (math.exp((interval_s + cost_s) / between_failures_s) - 1) / interval_s
    )


@pytest.mark.parametrize("cost_s", [0.01, 1.0, 30.0, 300.0])
@pytest.mark.parametrize("between_failures_s", [600.0, 14_400.0])
def test_no_interval_loses_noticeably_less_than_daly_s(cost_s, between_failures_s):
    grid = np.geomspace(cost_s / 10, 20 * between_failures_s, 4_000)
    grid = grid[grid < 50 * between_failures_s]
    best_s = min(expected_wall_s(each, cost_s, between_failures_s) for each in grid)
    ours_s = expected_wall_s(
        daly_interval_s(cost_s, between_failures_s), cost_s, between_failures_s
    )
    assert ours_s <= 1.002 * best_s


def test_cheap_checkpoints_come_as_often_as_requested():
    assert checkpoint_interval_s(5.0, 0.05, 14_400.0) == 5.0


def test_expensive_checkpoints_come_less_often():
    assert checkpoint_interval_s(5.0, 1.0, 14_400.0) == pytest.approx(
        math.sqrt(2 * 14_400), rel=0.01
    )


def test_no_checkpoint_comes_more_often_than_requested():
    assert checkpoint_interval_s(5.0, 1.0, 3.0) == 5.0


def test_a_checkpoint_after_every_step_is_saved_at_any_cost_if_requested():
    assert checkpoint_interval_s(0.0, 10.0, 14_400.0) == 0.0


def test_a_job_that_loses_its_workers_is_saved_more_often_however_short_that_gets():
    """A checkpoint that is cheap for the requested interval must not count as expensive for a part of it."""
    intervals_s = [
        checkpoint_interval_s(1.0, 0.004, 4 * 3600.0, losses=losses) for losses in range(7)
    ]
    assert intervals_s == [1.0, 0.5, 0.25, 0.125, 0.0625, 0.0625, 0.0625]


def test_a_job_that_loses_its_workers_is_saved_more_often_where_checkpoints_are_expensive():
    calm_s = checkpoint_interval_s(1.0, 0.5, 4 * 3600.0)
    assert calm_s > 60
    assert checkpoint_interval_s(1.0, 0.5, 4 * 3600.0, losses=2) == calm_s / 4


def test_however_many_workers_are_lost_checkpoints_do_not_take_all_the_time():
    assert checkpoint_interval_s(1.0, 0.009, 4 * 3600.0, losses=4) == pytest.approx(0.09)
