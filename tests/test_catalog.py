import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reelgrid import catalog
from reelgrid.errors import RequestError
from reelgrid.spec import Request, Size

WAN = "wan2.1-t2v-1.3b"


def card(name):
    found = catalog.find(name)
    assert found is not None
    return found


def test_every_entry_completes_its_own_defaults(tmp_path):
    image = tmp_path / "first.png"
    image.touch()
    for each in catalog.all_models():
        first = image if each.needs_first_frame else None
        whole = each.complete(Request("a red ball", first_frame=first))
        assert whole.size == each.default.size
        assert whole.num_frames == each.default.num_frames


def test_every_entry_says_where_it_comes_from():
    for each in catalog.all_models():
        assert each.name == "embedded" or re.search(r"\d{4}-\d\d-\d\d$", each.source), each.name
        assert each.licence, each.name
        assert set(each.unverified) <= {"default", "licence", "params_b"}, each.name


def test_names_and_hub_ids_are_unique():
    cards = catalog.all_models()
    assert len({each.name for each in cards}) == len(cards)
    assert len({each.repository for each in cards}) == len(cards)


def test_a_model_is_found_by_hub_id_in_any_case():
    assert card("wan-ai/wan2.1-t2v-1.3b-diffusers").name == WAN
    assert catalog.find("no-such-model") is None
    assert catalog.find("") is None


def test_similar_names_are_suggested():
    assert catalog.similar_names("wan2.1-t2v")[0] == WAN
    assert catalog.similar_names("Embeddedd") == ["embedded"]
    assert catalog.similar_names("") == []


def test_an_impossible_size_is_refused_with_the_nearest_ones():
    with pytest.raises(RequestError, match="nearest: 128x80, 128x64, 144x80"):
        card(WAN).complete(Request("x", size=Size(131, 77)))
    with pytest.raises(RequestError, match="nearest: 128x128"):
        card("embedded").complete(Request("x", size=Size(131, 77)))


@given(width=st.integers(1, 8192), height=st.integers(1, 8192))
def test_a_refusal_names_only_sizes_that_would_pass(width, height):
    wan = card(WAN)
    try:
        wan.complete(Request("x", size=Size(width, height)))
    except RequestError as refusal:
        for text in str(refusal).partition("nearest: ")[2].split(", "):
            wan.complete(Request("x", size=Size.parse(text)))


@given(num_frames=st.integers(1, 500))
def test_a_refusal_names_the_frame_counts_on_both_sides(num_frames):
    try:
        card(WAN).complete(Request("x", num_frames=num_frames))
        assert num_frames % 4 == 1
    except RequestError as refusal:
        near = sorted(int(n) for n in str(refusal).partition("nearest: ")[2].split(", "))
        assert near == [(num_frames - 1) // 4 * 4 + 1, (num_frames - 1) // 4 * 4 + 5]


def test_few_allowed_frame_counts_are_listed():
    with pytest.raises(RequestError, match="it makes 1, 17 only; nearest: 17, 1"):
        card("embedded").complete(Request("x", num_frames=16))


def test_an_image_model_makes_no_video():
    with pytest.raises(RequestError, match="single images"):
        card("sdxl").complete(Request("x", num_frames=17))


def test_an_impossible_rate_is_refused_with_the_nearest():
    with pytest.raises(RequestError, match="nearest: 120"):
        card(WAN).complete(Request("x", fps=200.0))


@pytest.mark.parametrize(("clip_s", "num_frames"), [(5.0, 81), (1.0, 17), (0.01, 1)])
def test_a_length_becomes_the_nearest_possible_frame_count(clip_s, num_frames):
    assert card(WAN).frames_for(clip_s) == num_frames


@pytest.mark.parametrize("clip_s", [-1.0, 0.0, math.nan, math.inf, 1e9])
def test_an_impossible_length_is_refused(clip_s):
    with pytest.raises(RequestError, match="out of range"):
        card(WAN).frames_for(clip_s)


def test_a_length_that_the_model_cannot_make_is_refused_with_the_nearest():
    with pytest.raises(RequestError, match=r"nearest: 2\.12 s \(17 frames\)"):
        card("embedded").frames_for(10.0)


def test_a_first_frame_is_refused_where_none_can_be_used(tmp_path):
    image = tmp_path / "first.png"
    image.touch()
    with pytest.raises(RequestError, match="takes no first frame; these do: embedded"):
        card(WAN).complete(Request("x", first_frame=image))


def test_a_first_frame_is_asked_for_where_it_is_needed():
    needy = card("wan2.1-i2v-14b-480p")
    with pytest.raises(RequestError, match="give it a first frame") as refusal:
        needy.complete(Request("x"))
    assert "--" not in str(refusal.value)  # the API sends this message too
    assert needy.complete(Request("x"), has_first_frame=True).first_frame is None


def test_the_catalogue_does_not_look_at_the_disk():
    assert card("embedded").complete(Request("x", first_frame=Path("none.png"))).num_frames == 17


def test_a_guidance_scale_of_zero_is_not_a_missing_one():
    assert card(WAN).complete(Request("x", guidance_scale=0.0)).guidance_scale == 0.0
