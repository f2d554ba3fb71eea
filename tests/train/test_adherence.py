"""The shipped weights follow prompts with combinations that never occurred in training."""

import pytest

from reelgrid.models.loading import load_model
from reelgrid.train.evaluation import evaluate


@pytest.fixture(scope="module")
def embedded():
    return load_model("embedded", device="cpu")


def shares(model, task, num_prompts):
    scores = evaluate(model, task=task, num_prompts=num_prompts, seed=7)
    return {score.name: score.share for score in scores}


def test_clips_show_colour_shape_motion_and_scene_of_unseen_combinations(embedded):
    seen = shares(embedded, "video", 40)
    assert seen["colour"] >= 0.95
    assert seen["scene"] >= 0.95
    assert seen["motion"] >= 0.90
    assert seen["shape"] >= 0.80
    assert seen["all"] >= 0.75


def test_still_images_show_the_prompt(embedded):
    assert shares(embedded, "image", 20)["all"] >= 0.7


def test_clips_continue_a_given_first_frame(embedded):
    assert shares(embedded, "first-frame", 20)["all"] >= 0.7
