import av
import numpy as np
import pytest

from reelgrid.errors import RequestError
from reelgrid.media import concatenate, read_provenance, write_clip
from tests.files import names
from tests.media.clips import PROVENANCE, rolling_ball


def decoded(path):
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return np.stack([frame.to_ndarray(format="rgb24") for frame in frames]), [
        frame.time for frame in frames
    ]


@pytest.fixture
def clips(tmp_path):
    frames = rolling_ball(17, width=128, height=64)
    write_clip(frames[:9], tmp_path / "one.mp4", fps=8, provenance=PROVENANCE)
    write_clip(frames[9:], tmp_path / "two.mp4", fps=8, provenance=PROVENANCE)
    return tmp_path


def test_clips_of_one_encoding_are_joined_without_changing_a_pixel(clips):
    num_frames = concatenate(
        clips / "one.mp4", clips / "two.mp4", clips / "both.mp4", provenance=PROVENANCE
    )
    shown, times = decoded(clips / "both.mp4")
    assert num_frames == len(shown) == 17
    assert np.array_equal(shown[:9], decoded(clips / "one.mp4")[0])
    assert np.array_equal(shown[9:], decoded(clips / "two.mp4")[0])
    assert times == [number / 8 for number in range(17)]
    assert read_provenance(clips / "both.mp4")["seed"] == PROVENANCE.seed
    assert names(clips) == ["both.mp4", "one.mp4", "two.mp4"]


def test_the_same_clips_give_the_same_bytes(clips):
    for name in ("a.mp4", "b.mp4"):
        concatenate(clips / "one.mp4", clips / "two.mp4", clips / name, provenance=PROVENANCE)
    assert (clips / "a.mp4").read_bytes() == (clips / "b.mp4").read_bytes()


def test_a_concatenated_clip_can_be_concatenated_again(clips):
    one, two, both = clips / "one.mp4", clips / "two.mp4", clips / "both.mp4"
    concatenate(one, two, both, provenance=PROVENANCE)
    assert concatenate(both, two, clips / "all.mp4", provenance=PROVENANCE) == 25
    shown, times = decoded(clips / "all.mp4")
    assert np.array_equal(shown[17:], decoded(two)[0])
    assert times == [number / 8 for number in range(25)]


def test_clips_of_another_rate_or_codec_are_encoded_again_and_look_the_same(clips):
    frames = rolling_ball(8, width=128, height=64)
    for name, fps in (("two.webm", 8), ("fast.mp4", 16)):
        write_clip(frames, clips / name, fps=fps, provenance=PROVENANCE)
        concatenate(clips / "one.mp4", clips / name, clips / "both.mp4", provenance=PROVENANCE)
        shown, times = decoded(clips / "both.mp4")
        assert len(shown) == 17
        assert np.abs(shown[9:].astype(int) - frames).mean() < 6
        assert np.abs(shown[:9].astype(int) - decoded(clips / "one.mp4")[0]).mean() < 6
        assert times == [number / 8 for number in range(17)]


def test_another_size_or_a_file_that_is_not_a_video_is_refused_and_leaves_nothing(clips):
    write_clip(rolling_ball(3, 64, 64), clips / "small.mp4", fps=8, provenance=PROVENANCE)
    (clips / "none.mp4").write_bytes(b"no video")
    before = names(clips)
    with pytest.raises(RequestError, match="of 64x64 pixels cannot follow one of 128x64"):
        concatenate(clips / "one.mp4", clips / "small.mp4", clips / "x.mp4", provenance=PROVENANCE)
    with pytest.raises(RequestError, match="not a video that can be read"):
        concatenate(clips / "one.mp4", clips / "none.mp4", clips / "x.mp4", provenance=PROVENANCE)
    assert names(clips) == before
