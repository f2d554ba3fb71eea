import numpy as np
import pytest

import reelgrid
from reelgrid.errors import RequestError
from reelgrid.media import read_image, read_provenance
from tests.families.tiny import tiny_model


@pytest.fixture(scope="module")
def model():
    return tiny_model("wan_unipc")


def test_generate_returns_frames_and_provenance(model):
    clip = reelgrid.generate("a red ball", model=model, seed=3, size="48x32", num_frames=5)
    assert clip.frames.shape == (5, 32, 48, 3)
    assert clip.frames.dtype == np.uint8
    assert (clip.fps, clip.provenance.seed) == (8.0, 3)


def test_a_saved_clip_has_the_frames_of_the_clip(model, tmp_path):
    clip = reelgrid.generate("a red ball", model=model)
    folder = clip.save(tmp_path / "frames")
    assert np.array_equal(read_image(folder / "frame_0001.png"), clip.frames[0])
    assert read_provenance(folder)["prompt"] == "a red ball"


def test_the_same_seed_gives_the_same_frames_and_another_others(model):
    one, same, other = (reelgrid.generate("a ball", model=model, seed=s).frames for s in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_an_impossible_request_is_refused_before_a_model_is_loaded():
    with pytest.raises(RequestError, match="prompt is empty"):
        reelgrid.generate("")


def test_the_package_has_no_other_names():
    with pytest.raises(AttributeError, match="no attribute 'degenerate'"):
        _ = reelgrid.degenerate
