"""What the service asks before it admits a request."""

import pytest

from reelgrid import catalog
from reelgrid.errors import RequestError
from reelgrid.plan.prediction.estimate import estimate
from reelgrid.spec import Request, Size
from tests.plan.test_predict import record

CARDS = {card.name: card for card in catalog.all_models()}
WAN, EMBEDDED = CARDS["wan2.1-t2v-1.3b"], CARDS["embedded"]
ASKED = Request(prompt="a red ball")
CPU = "2 x AMD EPYC, 2 threads"


def mine(**changes):
    size = {"model": "embedded", "machine": CPU, "width": 128, "height": 128, "num_frames": 17}
    return record(**size, num_steps=6, encode_s=0.1, denoise_s=0.6, decode_s=0.1, **changes)


def seconds_of(*asked):
    answer = estimate(*asked)
    assert answer is not None
    return answer.seconds.likely


def test_a_known_model_on_a_known_gpu_is_predicted():
    answer = estimate(WAN, ASKED, "NVIDIA L40S")
    assert answer is not None
    assert answer.basis.startswith("formula")
    assert answer.seconds.low < answer.seconds.likely < answer.seconds.high


def test_without_guidance_it_takes_half_the_forwards():
    guided = seconds_of(WAN, ASKED, "L40S")
    plain = seconds_of(WAN, ASKED.with_(guidance_scale=1.0), "L40S")
    assert 0.45 < plain / guided < 0.65


def test_nothing_is_known_of_the_embedded_model_on_a_processor():
    assert estimate(EMBEDDED, ASKED, CPU) is None
    assert estimate(EMBEDDED, ASKED, "NVIDIA H200") is None


def test_a_measurement_tells_of_the_embedded_model():
    answer = estimate(EMBEDDED, ASKED, CPU, [mine(), mine(run=1)])
    assert answer is not None
    assert answer.seconds.likely == pytest.approx(0.8)
    assert answer.basis.startswith("measured")


def test_more_steps_are_scaled_from_the_measured_ones():
    twice = seconds_of(EMBEDDED, ASKED.with_(num_steps=12), CPU, [mine()])
    assert twice == pytest.approx(0.1 + 1.2 + 0.1)


def test_another_machine_tells_nothing():
    assert estimate(EMBEDDED, ASKED, "8 x Xeon, 8 threads", [mine()]) is None


def test_what_the_model_cannot_do_is_refused():
    with pytest.raises(RequestError, match="multiples of 16"):
        estimate(WAN, ASKED.with_(size=Size(833, 480)), "L40S")
