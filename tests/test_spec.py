import math

import pytest

from reelgrid.catalog import find
from reelgrid.errors import RequestError
from reelgrid.spec import Request, Size


@pytest.mark.parametrize("prompt", ["", "   ", "x" * 10_000, "nul \x00"])
def test_an_empty_or_too_long_prompt_is_refused(prompt):
    with pytest.raises(RequestError, match="prompt"):
        Request(prompt)


@pytest.mark.parametrize(
    "values",
    [
        {"num_steps": 0},
        {"num_steps": 10_000},
        {"guidance_scale": math.nan},
        {"guidance_scale": -1.0},
        {"fps": 0.0},
        {"num_frames": 0},
        {"seed": -1},
        {"seed": 2**63},
    ],
)
def test_values_out_of_range_are_refused_with_the_range(values):
    with pytest.raises(RequestError, match="out of range"):
        Request("x", **values)


@pytest.mark.parametrize(
    "values",
    [{"num_steps": 2.5}, {"seed": 1.5}, {"num_frames": "17"}, {"fps": "8"}, {"prompt": None}],
)
def test_values_of_another_type_are_refused(values):
    with pytest.raises(RequestError, match=r"is not (a whole number|a number|text)"):
        Request(**{"prompt": "x", **values})


@pytest.mark.parametrize("text", ["-8x8", "0x8", "99999x8", "8", "8x", "x", "8x8x8", "1e3x8"])
def test_a_text_that_is_not_a_size_is_refused(text):
    with pytest.raises(RequestError, match="size"):
        Size.parse(text)


def test_a_size_is_read_as_it_is_written():
    assert str(Size.parse(" 832X480 ")) == "832x480"


def test_the_length_of_a_clip_is_frames_over_rate():
    embedded = find("embedded")
    assert embedded is not None
    assert embedded.complete(Request("x", num_frames=17, fps=8.0)).clip_s == 17 / 8


@pytest.mark.parametrize("text", ["3", "many", ""])
@pytest.mark.parametrize("name", ["num_steps", "fps", "seed"])
def test_a_number_as_text_is_refused(name, text):
    with pytest.raises(RequestError, match="number"):
        Request.from_json({"prompt": "a ball", name: text})


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [("size", (128, 128), "Size"), ("size", 5, "Size"), ("first_frame", 5, "Path")],
)
def test_a_value_of_another_type_is_refused_by_the_name_of_its_field(name, value, kind):
    with pytest.raises(
        RequestError, match=f"{name.replace('_', ' ')} .* is not a {kind}"
    ) as refused:
        Request("a red ball", **{name: value})
    assert refused.value.param == name
