from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from reelgrid.errors import GenerationError, RequestError
from reelgrid.media import check_output, read_image, read_provenance, write_clip
from tests.files import names
from tests.media.clips import BALL, GROUND, PROVENANCE, rolling_ball

MOVING = ["clip.mp4", "clip.webm", "clip.gif", "clip.webp", "clip"]
ALL = [*MOVING, "clip.png"]
ABOUT_SAME = 6  # of 255: what a good lossy codec changes in an even area


def read_frames(path: Path) -> np.ndarray:
    if path.is_dir():
        return np.stack([read_image(file) for file in sorted(path.iterdir())])
    if path.suffix in {".mp4", ".webm"}:
        with av.open(str(path)) as container:
            return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    with Image.open(path) as image:
        frames = []
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            frames.append(np.asarray(image.convert("RGB")))
        return np.stack(frames)


def bytes_of(path: Path) -> bytes:
    if path.is_dir():
        return b"".join(file.read_bytes() for file in sorted(path.iterdir()))
    return path.read_bytes()


def frames_for(name: str) -> np.ndarray:
    return rolling_ball(1 if name.endswith(".png") else 9)


@pytest.mark.parametrize("name", ALL)
def test_a_file_of_every_format_shows_the_frames_that_were_written(tmp_path, name):
    frames = frames_for(name)
    write_clip(frames, tmp_path / name, fps=8, provenance=PROVENANCE)
    shown = read_frames(tmp_path / name).astype(int)
    assert len(shown) == len(frames)
    for t in range(len(frames)):
        assert np.abs(shown[t, 38, 20 + 5 * t] - BALL).max() <= ABOUT_SAME
        assert np.abs(shown[t, 5, 100] - GROUND).max() <= ABOUT_SAME


@pytest.mark.parametrize("name", ALL)
def test_a_file_of_every_format_has_provenance_and_the_ai_generated_mark(tmp_path, name):
    write_clip(frames_for(name), tmp_path / name, fps=8, provenance=PROVENANCE)
    said = read_provenance(tmp_path / name)
    assert said["mark"] == "AI-generated"
    assert said["prompt"] == PROVENANCE.prompt
    assert said["seed"] == PROVENANCE.seed
    assert (said["model"], said["software"]) == ("embedded", "reelgrid 0.0.0")
    assert said["extra"] == PROVENANCE.extra


@pytest.mark.parametrize("name", ALL)
def test_the_same_frames_give_the_same_bytes(tmp_path, name):
    once, again = tmp_path / "once", tmp_path / "again"
    for folder in (once, again):
        folder.mkdir()
        write_clip(frames_for(name), folder / name, fps=8, provenance=PROVENANCE)
    assert bytes_of(once / name) == bytes_of(again / name)


@pytest.mark.parametrize("name", ALL)
def test_nothing_else_is_left_in_the_folder(tmp_path, name):
    write_clip(frames_for(name), tmp_path / name, fps=8, provenance=PROVENANCE)
    assert names(tmp_path) == [name]


def test_mp4_is_h264_420_with_its_index_in_front(tmp_path):
    path = tmp_path / "clip.mp4"
    write_clip(rolling_ball(), path, fps=8, provenance=PROVENANCE)
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert (stream.width, stream.height) == (132, 78)
        assert stream.average_rate == 8
        assert container.metadata["title"] == PROVENANCE.prompt
        assert container.metadata["comment"] == "AI-generated"


@pytest.mark.parametrize("name", ["clip.gif", "clip.webp"])
def test_an_animation_lasts_as_long_as_the_clip(tmp_path, name):
    write_clip(rolling_ball(12), tmp_path / name, fps=24, provenance=PROVENANCE)
    with Image.open(tmp_path / name) as image:
        shown_ms = 0
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()
            shown_ms += image.info["duration"]
    assert shown_ms == 500


def test_frames_in_a_folder_are_exact_and_in_order(tmp_path):
    frames = rolling_ball()
    write_clip(frames, tmp_path / "frames", fps=8, provenance=PROVENANCE)
    assert names(tmp_path / "frames")[0] == "frame_0001.png"
    assert np.array_equal(read_frames(tmp_path / "frames"), frames)


def test_images_have_the_mark_that_iptc_defines(tmp_path):
    write_clip(rolling_ball(1), tmp_path / "clip.png", fps=8, provenance=PROVENANCE)
    assert b"trainedAlgorithmicMedia" in (tmp_path / "clip.png").read_bytes()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("clip.avi", "unknown extension '.avi': use one of .mp4"),
        ("none/clip.mp4", "make it first"),
        ("clip.png", "holds one frame, not 9"),
    ],
)
def test_a_path_to_which_the_clip_cannot_be_written_is_refused(tmp_path, name, message):
    with pytest.raises(RequestError, match=message):
        check_output(tmp_path / name, 9)


def test_a_folder_with_other_files_is_not_overwritten(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RequestError, match=r"holds other files, such as thesis\.tex"):
        check_output(tmp_path, 9)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(RequestError, match="cannot be written to"):
        check_output(tmp_path / "clip.mp4", 9)


def test_a_file_without_provenance_is_refused(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    with pytest.raises(RequestError, match="does not say how it was made"):
        read_provenance(tmp_path / "plain.png")


def test_a_file_that_is_not_an_image_is_refused(tmp_path):
    (tmp_path / "a.png").write_bytes(b"not an image")
    with pytest.raises(RequestError, match="not an image"):
        read_image(tmp_path / "a.png")
    with pytest.raises(RequestError, match="no image file"):
        read_image(tmp_path / "none.png")


def test_a_truncated_image_is_refused(tmp_path):
    path = tmp_path / "a.png"
    write_clip(rolling_ball(1), path, fps=8, provenance=PROVENANCE)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(RequestError, match="not an image that can be read"):
        read_image(path)


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("reelgrid.media.clip_writer.write_video", full)
    with pytest.raises(GenerationError, match="No space left on device; nothing was left there"):
        write_clip(rolling_ball(), tmp_path / "clip.mp4", fps=8, provenance=PROVENANCE)
    assert names(tmp_path) == []
