import numpy as np
import pytest

from reelgrid.errors import RequestError
from reelgrid.media import last_frame, sprite_sheet, thumbnail, write_clip
from reelgrid.media.thumbnails import spread_indices
from tests.media.clips import PROVENANCE, rolling_ball


def numbered(num_frames: int, width: int = 32, height: int = 16) -> np.ndarray:
    """Frames of one shade each, which is the frame's number."""
    shades = np.arange(num_frames, dtype=np.uint8)
    return np.broadcast_to(shades[:, None, None, None], (num_frames, height, width, 3)).copy()


def test_a_sheet_shows_each_frame_of_a_short_clip_row_by_row():
    sheet = sprite_sheet(numbered(7), columns=3)
    assert sheet.shape == (3 * 16, 3 * 32, 3)
    shown = [
        [int(sheet[row * 16 + 8, column * 32 + 16, 0]) for column in range(3)] for row in range(3)
    ]
    assert shown == [[0, 1, 2], [3, 4, 5], [6, 0, 0]]


def test_a_sheet_of_a_long_clip_is_spread_evenly_from_first_to_last():
    sheet = sprite_sheet(numbered(101), num_tiles=5, columns=5)
    assert [int(sheet[8, column * 32 + 16, 0]) for column in range(5)] == [0, 25, 50, 75, 100]


def test_a_still_image_has_a_sheet_of_one_tile():
    assert np.array_equal(sprite_sheet(numbered(1)), numbered(1)[0])


@pytest.mark.parametrize(
    ("num_frames", "num_wanted"), [(1, 1), (9, 1), (2, 25), (26, 25), (241, 25)]
)
def test_spread_indices_are_in_range_increasing_and_as_many_as_there_can_be(num_frames, num_wanted):
    indices = spread_indices(num_frames, num_wanted)
    assert len(indices) == min(num_frames, num_wanted)
    assert indices == sorted(set(indices))
    assert 0 <= indices[0] <= indices[-1] < num_frames


def test_a_large_frame_is_scaled_down_and_keeps_its_shape():
    small = thumbnail(numbered(3, width=1280, height=720), side_px=160)
    assert small.shape == (90, 160, 3)
    assert (small == 1).all()  # the middle one
    assert thumbnail(numbered(3), side_px=160).shape == (16, 32, 3)


def test_a_sheet_of_a_file_is_about_the_same_as_of_its_frames(tmp_path):
    frames = rolling_ball(9, width=128, height=64)
    write_clip(frames, tmp_path / "a.mp4", fps=8, provenance=PROVENANCE)
    for make in (thumbnail, sprite_sheet):
        difference = make(frames).astype(int) - make(tmp_path / "a.mp4")
        assert np.abs(difference).mean() < 4
    assert np.abs(last_frame(tmp_path / "a.mp4").astype(int) - frames[-1]).mean() < 4
    assert np.abs(last_frame(tmp_path / "a.mp4").astype(int) - frames[0]).mean() > 5


def test_a_file_that_is_not_a_video_is_refused(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"\x00\x00\x00\x18ftypisom" + bytes(100))
    for read in (last_frame, thumbnail, sprite_sheet):
        with pytest.raises(RequestError, match=r"a\.mp4 (is not a video|has no)"):
            read(tmp_path / "a.mp4")
