"""One reader: a picture means the same pixels for the command line, Python and the server."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from reelgrid.engine.pipeline_io import first_frame_image
from reelgrid.errors import RequestError
from reelgrid.media import UploadLimits, read_image, read_uploaded_image
from reelgrid.media.media_type import MediaType
from reelgrid.media.upload_sandbox import _examine_image
from reelgrid.spec import Size

# As EXIF 2.32 defines Orientation: how the stored rows and columns lie in the picture.
STORED = {
    1: lambda picture: picture,
    2: lambda picture: picture[:, ::-1],
    3: lambda picture: picture[::-1, ::-1],
    4: lambda picture: picture[::-1],
    5: lambda picture: picture.swapaxes(0, 1),
    6: lambda picture: picture.swapaxes(0, 1)[::-1],
    7: lambda picture: picture.swapaxes(0, 1)[::-1, ::-1],
    8: lambda picture: picture.swapaxes(0, 1)[:, ::-1],
}
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
FORMATS = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "JPEG": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
}


@pytest.fixture(autouse=True)
def pixel_limit(monkeypatch):
    """The sandbox process changes Pillow's limit; this restores it."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


@st.composite
def pictures(draw):
    """A file's bytes, and the pixels that it shows, exact for PNG."""
    kind = draw(st.sampled_from(sorted(FORMATS)))
    mode = draw(st.sampled_from(FORMATS[kind]))
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    colour = np.array(draw(st.tuples(*[st.integers(0, 255)] * 4)), np.uint8)
    ramp = np.linspace(0, 1, height * width).reshape(height, width, 1)
    shown = (colour * ramp).astype(np.uint8)
    orientation = draw(st.sampled_from(sorted(STORED)))
    stored = np.ascontiguousarray(STORED[orientation](shown))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    # Subsampled colours of small pictures would be far from those that were stored.
    jpeg = {"quality": 95, "subsampling": 0}
    options = {"lossless": True} if kind == "WEBP" else jpeg if kind == "JPEG" else {}
    profile = SRGB if draw(st.booleans()) and mode in {"RGB", "RGBA"} else None
    image = in_mode(stored, mode)
    image.save(file, format=kind, exif=exif, icc_profile=profile, **options)
    return MediaType[kind], file.getvalue(), seen(shown, mode), 0 if kind != "JPEG" else 40


def in_mode(rgba, mode):
    if mode == "I;16":
        return Image.fromarray(rgba[..., 0].astype(np.uint16) * 257)
    if mode in {"LA", "RGBA"}:
        return Image.fromarray(rgba if mode == "RGBA" else rgba[..., [0, 3]])
    if mode in {"L", "1"}:
        grey = rgba[..., 0] if mode == "L" else np.where(rgba[..., 0] > 127, 255, 0)
        return Image.fromarray(grey.astype(np.uint8)).convert(mode)
    if mode == "P":
        image = Image.fromarray(rgba[..., 0], mode="P")
        image.putpalette([level for i in range(256) for level in (i, 255 - i, 7)])
        return image
    return Image.fromarray(rgba[..., :3]).convert(mode)


def seen(rgba, mode):
    """The picture in a viewer with a black background, computed without Pillow."""
    grey = rgba[..., 0].astype(int)
    if mode == "1":
        grey = np.where(grey > 127, 255, 0)
    if mode == "P":
        return np.stack([grey, 255 - grey, np.full_like(grey, 7)], axis=-1)
    colours = rgba[..., :3].astype(int) if mode in {"RGB", "RGBA", "CMYK"} else None
    colours = np.stack([grey] * 3, axis=-1) if colours is None else colours
    alpha = rgba[..., 3:].astype(int) if mode in {"LA", "RGBA"} else 255
    return np.rint(colours * alpha / 255).astype(int)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(picture=pictures())
def test_a_picture_has_the_same_pixels_on_every_path(tmp_path, picture):
    kind, content, expected, tolerance = picture
    path, taken = tmp_path / "picture", tmp_path / "taken.png"
    path.write_bytes(content)
    pixels = read_image(path)
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).max() <= max(1, tolerance)
    _examine_image(path, taken, kind, UploadLimits())
    assert np.array_equal(np.asarray(Image.open(taken)), pixels)
    assert np.array_equal(as_first_frame(path, pixels), pixels)
    assert np.array_equal(as_first_frame(taken, pixels), pixels)


def as_first_frame(path: Path, pixels):
    """The input of the pipeline, at the picture's own size."""
    height, width = pixels.shape[:2]
    return np.asarray(first_frame_image(path, Size(width, height)))


def exif_without_header(png: bytes) -> bytes:
    """The PNG with an eXIf chunk that lacks the TIFF header, as some cameras' tools write it."""
    broken = b"\0\x08\0\2\1\x12\0\3"
    crc = zlib.crc32(b"eXIf" + broken)
    chunk = struct.pack(">I", len(broken)) + b"eXIf" + broken + struct.pack(">I", crc)
    at = png.index(b"IDAT") - 4
    return png[:at] + chunk + png[at:]


def test_a_picture_with_unreadable_exif_data_is_read(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, format="PNG")
    (tmp_path / "a.png").write_bytes(exif_without_header(file.getvalue()))
    assert np.array_equal(read_image(tmp_path / "a.png"), noise)
    read_uploaded_image(tmp_path / "a.png", tmp_path / "taken.png")
    assert np.array_equal(read_image(tmp_path / "taken.png"), noise)


def test_a_dark_picture_of_16_bits_stays_dark(tmp_path):
    Image.fromarray(np.full((4, 4), 200, np.uint16)).save(tmp_path / "dark.png")
    assert read_image(tmp_path / "dark.png").max() <= 1


@pytest.mark.parametrize("end", [0, 4, 20, 45, -300])
@pytest.mark.filterwarnings("ignore:.*EXIF:UserWarning")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_file_that_is_cut_short_is_refused_in_one_line(tmp_path, kind, end):
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(file, format=kind)
    (tmp_path / "cut").write_bytes(file.getvalue()[:end])
    with pytest.raises(RequestError, match=r"is not an image that can be read: [^\n]+$"):
        read_image(tmp_path / "cut")
