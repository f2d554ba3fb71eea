import numpy as np
import pytest
from PIL import Image

from reelgrid.errors import RequestError
from reelgrid.media import MediaType, media_type_of, read_image, read_provenance, write_image
from tests.files import names
from tests.media.clips import PROVENANCE, rolling_ball

PICTURE = rolling_ball(1)[0]
IMAGES = ["a.png", "a.webp", "a.jpg", "a.jpeg"]


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_file_shows_its_pixels_and_has_provenance(tmp_path, name):
    path = tmp_path / name
    write_image(PICTURE, path, provenance=PROVENANCE)
    assert np.abs(read_image(path).astype(int) - PICTURE).mean() < 3
    said = read_provenance(path)
    assert (said["mark"], said["seed"]) == ("AI-generated", PROVENANCE.seed)
    assert b"trainedAlgorithmicMedia" in path.read_bytes()
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("name", IMAGES)
def test_the_same_picture_gives_the_same_bytes(tmp_path, name):
    write_image(PICTURE, tmp_path / name, provenance=PROVENANCE)
    once = (tmp_path / name).read_bytes()
    write_image(PICTURE, tmp_path / name, provenance=PROVENANCE)
    assert (tmp_path / name).read_bytes() == once


@pytest.mark.parametrize("name", ["a.webp", "a.jpg"])
def test_lower_quality_gives_a_smaller_file_with_a_larger_error(tmp_path, name):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    sizes, errors = [], []
    for quality in (10, 50, 95):
        write_image(noise, tmp_path / name, provenance=PROVENANCE, quality=quality)
        sizes.append((tmp_path / name).stat().st_size)
        errors.append(np.abs(read_image(tmp_path / name).astype(int) - noise).mean())
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)


def test_an_unknown_format_or_quality_is_refused(tmp_path):
    with pytest.raises(RequestError, match=r"is one of \.png"):
        write_image(PICTURE, tmp_path / "a.svg", provenance=PROVENANCE)
    with pytest.raises(RequestError, match="0 to 100"):
        write_image(PICTURE, tmp_path / "a.jpg", provenance=PROVENANCE, quality=101)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.png", MediaType.PNG), ("a.webp", MediaType.WEBP), ("a.jpg", MediaType.JPEG)],
)
def test_the_media_type_depends_on_content_not_on_the_name(tmp_path, name, kind):
    write_image(PICTURE, tmp_path / name, provenance=PROVENANCE)
    (tmp_path / name).rename(tmp_path / "a.mp4")
    assert media_type_of(tmp_path / "a.mp4") is kind
    assert read_provenance(tmp_path / "a.mp4")["seed"] == PROVENANCE.seed


@pytest.mark.parametrize("content", [b"", b"RIFF", b"hello", b"<svg xmlns='x'/>", b"RIFF0000WAVE"])
def test_other_content_has_no_media_type(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    assert media_type_of(tmp_path / "a.png") is None


def test_a_file_can_leave_the_prompt_out(tmp_path):
    secret = type(PROVENANCE)(
        prompt="the secret",
        negative_prompt="the other",
        seed=1,
        model="m",
        software="s",
        prompts_in_metadata=False,
    )
    for name in IMAGES:
        write_image(PICTURE, tmp_path / name, provenance=secret)
        assert b"secret" not in (tmp_path / name).read_bytes()
        said = read_provenance(tmp_path / name)
        assert "prompt" not in said
        assert "negative_prompt" not in said
        # printf 'the secret' | sha256sum
        assert said["prompt_sha256"] == (
            "368a693d784c7d1957ec748148a5de1e1f2e97f1f6360c69b0cfcf6471bbbf07"
        )
    with Image.open(tmp_path / "a.png") as image:
        assert image.info["Description"] == "AI-generated"
