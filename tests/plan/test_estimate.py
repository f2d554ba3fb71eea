"""An estimate rests on measured times, then on the planner's prediction, then on a marked guess."""

import math

import pytest

from reelgrid import catalog
from reelgrid.jobs.accounting import TimingProfile
from reelgrid.jobs.request import JobRequest
from reelgrid.plan.facts.architectures import find_architecture
from reelgrid.plan.facts.hardware import read_hardware
from reelgrid.plan.prediction.estimate import estimate, sigma_of
from reelgrid.plan.prediction.predict import predict
from reelgrid.plan.prediction.workload import workload_of
from reelgrid.plan.uncertainty import Z_80
from reelgrid.spec import Request, Size

CARDS = {card.name: card for card in catalog.all_models()}
WAN, EMBEDDED = CARDS["wan2.1-t2v-1.3b"], CARDS["embedded"]
L40S = read_hardware()["L40S"]


def measured(workload, num=4, **seconds):
    return [
        TimingProfile(
            machine="L40S",
            model=WAN.name,
            workload=workload,
            part=part,
            num=num,
            mean_log=math.log(each),
            variance_log=0.1**2 * max(num - 1, 1) / num,
        )
        for part, each in seconds.items()
    ]


def estimated(times=(), gpu=None, card=WAN, **changes):
    request = card.complete(Request(prompt="a red ball", **changes))
    return estimate(card, JobRequest(request=request), times, gpu)


def test_times_of_the_same_size_are_added_up():
    times = measured("832x480x81", step=2.0, encode=3.0, decode=4.0, write=5.0, load=99.0)
    found = estimated(times, L40S, num_steps=10)
    assert found.seconds == pytest.approx(10 * 2 + 3 + 4 + 5)
    assert found.basis.startswith("measured on this server")
    assert not found.is_guess


def test_times_of_two_machines_are_averaged_by_their_jobs():
    times = [*measured("832x480x81", num=1, step=1.0), *measured("832x480x81", num=3, step=16.0)]
    assert estimated(times, num_steps=1).seconds == pytest.approx(8.0)


def test_times_of_another_size_are_scaled_by_pixels_and_frames():
    times = measured("416x240x81", step=2.0)
    found = estimated(times, L40S, num_steps=10)
    assert found.seconds == pytest.approx(4 * 10 * 2)
    assert found.sigma > estimated(measured("832x480x81", step=2.0)).sigma
    assert found.basis.startswith("scaled")


def test_without_times_the_planner_predicts_for_the_gpu():
    found = estimated(gpu=L40S, num_steps=20)
    work = workload_of(find_architecture(WAN.name), num_steps=20, forwards_per_step=2)
    assert found.seconds == pytest.approx(predict(work, L40S).seconds.likely)
    assert found.basis.startswith("predicted for L40S: formula")


def test_where_nothing_is_known_it_is_a_guess_with_a_wide_interval():
    for found in (estimated(), estimated(gpu=L40S, card=EMBEDDED)):
        assert found.is_guess
        assert found.spread == pytest.approx(math.exp(Z_80 * 1.5))


def test_the_memory_is_the_cards_and_more_for_a_larger_clip():
    assert estimated().memory_gib == WAN.memory_gib
    assert estimated(size=Size(416, 240)).memory_gib == WAN.memory_gib
    assert estimated(size=Size(1280, 720)).memory_gib > WAN.memory_gib + 1


def test_one_measured_time_has_a_wide_interval_and_many_have_their_own_spread():
    assert sigma_of(measured("832x480x81", num=1, step=2.0)) == pytest.approx(0.3)
    many = sigma_of(measured("832x480x81", num=10_000, step=2.0))
    assert many == pytest.approx(0.1, abs=0.001)
