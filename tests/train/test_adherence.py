"""The committed weights do what prompts say, on combinations they have never seen."""

import pytest

from reelgrid.models.loading import load_model
from reelgrid.train.evaluation import evaluate


@pytest.fixture(scope="module")
def embedded():
    return load_model("embedded", device="cpu")


def shares(model, task, num_prompts):
    scores = evaluate(model, task=task, num_prompts=num_prompts, seed=7)
    return {score.name: score.share for score in scores}


@pytest.mark.timeout(120)
def test_clips_show_colour_shape_motion_and_scene_of_unseen_combinations(embedded):
    seen = shares(embedded, "video", 40)
    assert seen["colour"] >= 0.95
    assert seen["scene"] >= 0.95
    assert seen["motion"] >= 0.90
    assert seen["shape"] >= 0.80
    assert seen["all"] >= 0.75


@pytest.mark.timeout(120)
def test_still_images_show_what_is_asked_for(embedded):
    assert shares(embedded, "image", 20)["all"] >= 0.7


@pytest.mark.timeout(120)
def test_clips_go_on_from_a_given_first_frame(embedded):
    assert shares(embedded, "first-frame", 20)["all"] >= 0.7
