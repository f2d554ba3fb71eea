"""An order survives its way through the desk, and says how long its file will be."""

import json

import pytest

from reelgrid.jobs.order import Order
from reelgrid.spec import Request, Size

WHOLE = Request(
    prompt="a red ball",
    size=Size(128, 128),
    num_frames=17,
    fps=8.0,
    num_steps=6,
    guidance_scale=2.5,
    seed=2**63 - 1,
)


@pytest.mark.parametrize(
    "order",
    [
        Order(request=WHOLE),
        Order(request=WHOLE.with_(negative_prompt="blue", guidance_scale=1.0)),
        Order(request=WHOLE, first_frame="inputs/a.png", extends="a/video.mp4", extends_s=2.0),
        Order(request=WHOLE.with_(num_frames=1), format="webp", quality=0),
    ],
)
def test_an_order_comes_back_from_json_as_it_went(order: Order) -> None:
    assert Order.from_json(json.loads(json.dumps(order.to_json()))) == order


def test_an_extension_is_as_long_as_both_without_the_frame_that_repeats() -> None:
    order = Order(request=WHOLE, extends="a/video.mp4", extends_s=17 / 8)
    assert order.clip_s == (17 + 16) / 8
    assert Order(request=WHOLE).clip_s == 17 / 8
    assert Order(request=WHOLE.with_(num_frames=1), format="png").clip_s == 0


def test_a_key_too_many_or_too_few_is_refused() -> None:
    values = Order(request=WHOLE).to_json()
    with pytest.raises(ValueError, match="lora"):
        Order.from_json({**values, "lora": "x"})
    del values["seed"]
    with pytest.raises(ValueError, match="seed"):
        Order.from_json(values)


def test_an_incomplete_request_is_no_order() -> None:
    with pytest.raises(ValueError, match="complete"):
        Order(request=Request(prompt="a red ball"))


def test_a_workload_tells_apart_what_takes_another_time() -> None:
    assert Order(request=WHOLE).workload == "128x128x17"
    assert Order(request=WHOLE.with_(guidance_scale=1.0)).workload == "128x128x17 unguided"
