"""Correct uploads are accepted; all others are refused, without any other effect."""

import io
import os
import resource
import struct
import subprocess
import sys
import zlib

import av
import numpy as np
import pytest
from PIL import Image, ImageCms

from reelgrid.errors import RequestError
from reelgrid.media import read_image, write_clip
from reelgrid.media.upload import (
    UploadedImage,
    UploadLimits,
    read_uploaded_image,
    read_uploaded_video,
)
from tests.files import names
from tests.media.clips import PROVENANCE, rolling_ball

PICTURE = rolling_ball(1, width=64, height=48)[0]


@pytest.fixture
def sent(tmp_path):
    return tmp_path / "sent"


@pytest.fixture
def taken(tmp_path):
    return tmp_path / "taken.png"


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(width: int, height: int, rows: bytes, *, extra: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + extra
        + png_chunk(b"IDAT", rows)
        + png_chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_an_image_is_read_whatever_its_name(sent, taken, kind):
    Image.fromarray(PICTURE).save(sent, format=kind, quality=95)
    assert read_uploaded_image(sent, taken) == UploadedImage(width=64, height=48)
    assert np.abs(read_image(taken).astype(int) - PICTURE).mean() < 4


def test_an_image_comes_out_upright_and_without_metadata(sent, taken):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    exif[0x010E] = "home address"
    Image.fromarray(PICTURE).save(
        sent, format="JPEG", quality=95, exif=exif, comment=b"home address"
    )
    assert read_uploaded_image(sent, taken) == UploadedImage(width=48, height=64)
    assert np.abs(read_image(taken).astype(int) - np.rot90(PICTURE, -1)).mean() < 4
    assert b"home address" not in taken.read_bytes()
    with Image.open(taken) as image:
        assert not image.info
        assert not image.getexif()


def test_transparency_is_black(sent, taken):
    pixels = np.full((8, 8, 4), 200, np.uint8)
    pixels[..., 3] = 128
    Image.fromarray(pixels).save(sent, format="PNG")
    read_uploaded_image(sent, taken)
    assert np.abs(read_image(taken).astype(int) - 100).max() <= 1


def test_grey_and_16_bit_and_palette_and_cmyk_pictures_are_rgb(sent, taken):
    grey = Image.fromarray(PICTURE).convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    for image, kind in (
        (grey, "PNG"),
        (deep, "PNG"),
        (Image.fromarray(PICTURE).convert("P"), "PNG"),
        (Image.fromarray(PICTURE).convert("CMYK"), "JPEG"),
    ):
        image.save(sent, format=kind)
        read_uploaded_image(sent, taken)
        assert np.abs(read_image(taken).mean(axis=2) - PICTURE.mean(axis=2)).mean() < 25
        assert read_image(taken).shape == (48, 64, 3)


def test_a_colour_profile_is_applied_and_a_broken_one_ignored(sent, taken):
    # LittleCMS is the reference: what Lab L=50 is in sRGB.
    lab = Image.new("LAB", (8, 8), (128, 128, 128))
    srgb = ImageCms.createProfile("sRGB")
    wanted = ImageCms.profileToProfile(lab, ImageCms.createProfile("LAB"), srgb, outputMode="RGB")
    assert wanted is not None
    wanted.save(sent, format="PNG", icc_profile=ImageCms.ImageCmsProfile(srgb).tobytes())
    read_uploaded_image(sent, taken)
    assert np.array_equal(read_image(taken), np.asarray(wanted))
    Image.fromarray(PICTURE).save(sent, format="PNG", icc_profile=b"no profile")
    read_uploaded_image(sent, taken)
    assert np.array_equal(read_image(taken), PICTURE)


REFUSED = {
    "text": (b"hello", "not one of JPEG, PNG, WEBP: it is of no known type"),
    "nothing": (b"", "of no known type"),
    "svg with a script": (
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "of no known type",
    ),
    "html": (b"<!doctype html><script>alert(1)</script>", "of no known type"),
    "gif": (b"GIF89a" + bytes(100), "it is GIF"),
    "video": (b"\x00\x00\x00\x18ftypisom" + bytes(100), "it is MP4"),
    "only the first bytes of a png": (b"\x89PNG\r\n\x1a\n", "the PNG is broken"),
    "text behind the first bytes": (b"\x89PNG\r\n\x1a\n" + b"text " * 100, "the PNG is broken"),
    "only the first bytes of a jpeg": (b"\xff\xd8\xff\xe0" + bytes(100), "the JPEG is broken"),
    "only the first bytes of a webp": (
        b"RIFF\xff\xff\xff\xffWEBPVP8 " + bytes(90),
        "WEBP is broken",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_not_an_image_is_refused_and_leaves_nothing(sent, taken, tmp_path, name):
    content, message = REFUSED[name]
    sent.write_bytes(content)
    with pytest.raises(RequestError, match=message) as caught:
        read_uploaded_image(sent, taken)
    assert caught.value.param == "first_frame"
    assert names(tmp_path) == ["sent"]


def test_sixty_megabytes_of_text_as_png_are_refused_unread(sent, taken):
    sent.write_bytes(b"\x89PNG\r\n\x1a\n" + b"All work and no play. " * (60_000_000 // 22))
    with pytest.raises(RequestError, match="the PNG is broken"):
        read_uploaded_image(sent, taken)
    sent.write_bytes(bytes(65 << 20))
    with pytest.raises(RequestError, match="67,108,864 are allowed"):
        read_uploaded_image(sent, taken)


def test_a_truncated_image_is_refused(sent, taken, tmp_path):
    for kind in ("PNG", "JPEG", "WEBP"):
        whole = io.BytesIO()
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(noise).save(whole, format=kind)
        sent.write_bytes(whole.getvalue()[:-300])
        with pytest.raises(RequestError, match=f"the {kind} is broken"):
            read_uploaded_image(sent, taken)
    assert names(tmp_path) == ["sent"]


def test_a_decompression_bomb_is_refused_by_its_header(sent, taken):
    rows = zlib.compress(bytes(3 * 30_000 + 1) * 2_000)  # 180 MB in 200 kB, and more follows
    sent.write_bytes(png(30_000, 30_000, rows))
    with pytest.raises(RequestError, match="30000x30000 pixels, 25,000,000 are allowed"):
        read_uploaded_image(sent, taken)


def test_bombs_in_the_metadata_are_never_unpacked(sent, taken):
    """500 MB each; the process may use 450 MB including its libraries."""
    limits = UploadLimits(memory_bytes=450 << 20)
    bomb = zlib.compress(bytes(500_000_000), 9)
    row = zlib.compress(bytes(13) * 4)
    sent.write_bytes(png(4, 4, row))
    assert read_uploaded_image(sent, taken, limits=limits) == UploadedImage(width=4, height=4)
    for kind, start in ((b"iCCP", b"icc\x00\x00"), (b"zTXt", b"Comment\x00\x00")):
        sent.write_bytes(png(4, 4, row, extra=png_chunk(kind, start + bomb)))
        with pytest.raises(RequestError, match="the PNG is broken"):
            read_uploaded_image(sent, taken, limits=limits)


def test_an_upload_that_needs_too_much_memory_or_time_is_refused(sent, taken, tmp_path):
    Image.new("RGB", (5_000, 5_000)).save(sent, format="PNG")
    assert read_uploaded_image(sent, taken).width == 5_000
    taken.unlink()
    with pytest.raises(RequestError, match="needs too much memory"):
        read_uploaded_image(sent, taken, limits=UploadLimits(memory_bytes=300 << 20))
    clip = np.random.default_rng(0).integers(0, 256, (20, 720, 1_280, 3), np.uint8)
    write_clip(clip, tmp_path / "long.mp4", fps=8, provenance=PROVENANCE)
    with pytest.raises(RequestError, match="takes too long to read"):
        read_uploaded_video(
            tmp_path / "long.mp4", taken, limits=UploadLimits(cpu_s=1, max_bytes=1 << 30)
        )
    assert names(tmp_path) == ["long.mp4", "sent"]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_is_refused(sent, taken, kind):
    frames = [Image.fromarray(frame) for frame in rolling_ball(3)]
    frames[0].save(sent, format=kind, save_all=True, append_images=frames[1:])
    with pytest.raises(RequestError, match="is animated"):
        read_uploaded_image(sent, taken)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_a_video_is_read_to_its_last_frame(sent, taken, tmp_path, suffix):
    frames = rolling_ball(9, width=128, height=64)
    write_clip(frames, tmp_path / f"a{suffix}", fps=8, provenance=PROVENANCE)
    (tmp_path / f"a{suffix}").rename(sent)
    found = read_uploaded_video(sent, taken)
    assert (found.width, found.height, found.num_frames, found.fps) == (128, 64, 9, 8.0)
    assert np.abs(read_image(taken).astype(int) - frames[-1]).mean() < 4


def test_a_video_with_ten_thousand_streams_is_refused(sent, taken, tmp_path):
    write_clip(rolling_ball(2, 32, 32), tmp_path / "a.mp4", fps=8, provenance=PROVENANCE)
    sent.write_bytes(with_streams((tmp_path / "a.mp4").read_bytes(), 10_000))
    with pytest.raises(RequestError, match=r"broken|streams"):
        read_uploaded_video(sent, taken)
    sent.write_bytes(with_streams((tmp_path / "a.mp4").read_bytes(), 10))
    with pytest.raises(RequestError, match="the video has 10 streams, 8 are allowed"):
        read_uploaded_video(sent, taken)


def with_streams(content: bytes, num_streams: int) -> bytes:
    """The MP4 with its only track so many times."""
    moov, trak = content.index(b"moov") - 4, content.index(b"trak") - 4
    (moov_size,) = struct.unpack(">I", content[moov : moov + 4])
    (trak_size,) = struct.unpack(">I", content[trak : trak + 4])
    more = content[trak : trak + trak_size] * (num_streams - 1)
    return (
        content[:moov]
        + struct.pack(">I", moov_size + len(more))
        + content[moov + 4 : trak + trak_size]
        + more
        + content[trak + trak_size :]
    )


def test_a_video_with_too_many_frames_pixels_or_without_pictures_is_refused(sent, taken, tmp_path):
    write_clip(rolling_ball(9, 64, 64), tmp_path / "a.mp4", fps=8, provenance=PROVENANCE)
    with pytest.raises(RequestError, match="more than the 8 frames allowed"):
        read_uploaded_video(tmp_path / "a.mp4", taken, limits=UploadLimits(max_frames=8))
    with pytest.raises(RequestError, match="64x64 pixels, 4,095 are allowed"):
        read_uploaded_video(tmp_path / "a.mp4", taken, limits=UploadLimits(max_pixels=4_095))
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8_000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1_024), np.float32), "fltp", "mono")
        sound.sample_rate = 8_000
        container.mux([*stream.encode(sound), *stream.encode(None)])
    with pytest.raises(RequestError, match="has no video stream"):
        read_uploaded_video(tmp_path / "sound.mp4", taken)


def test_a_truncated_video_is_refused(sent, taken, tmp_path):
    write_clip(rolling_ball(9, 64, 64), tmp_path / "a.mp4", fps=8, provenance=PROVENANCE)
    content = (tmp_path / "a.mp4").read_bytes()
    for share in (0.1, 0.5, 0.8):  # within the index, and within the pictures
        sent.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(RequestError, match=r"the MP4 is broken|has no|breaks off"):
            read_uploaded_video(sent, taken)
    with av.open(str(tmp_path / "a.mp4")) as container:
        ends = sorted(
            packet.pos + packet.size for packet in container.demux(video=0) if packet.size
        )
    sent.write_bytes(content[: ends[4]])  # between two pictures, where no decoder notices it
    with pytest.raises(RequestError, match=r"the video breaks off after \d of 9 frames"):
        read_uploaded_video(sent, taken)


READER = """
import sys
from pathlib import Path
from reelgrid.errors import StorageFullError
from reelgrid.media import read_uploaded_image
try:
    read_uploaded_image(Path(sys.argv[1]), Path(sys.argv[2]))
except StorageFullError as error:
    print(error)
"""


def test_a_full_disk_is_not_blamed_on_the_upload(sent, taken, tmp_path):
    """The system refuses for real: files may not grow beyond a limit."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(sent, format="PNG")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000))

    done = subprocess.run(
        [sys.executable, "-B", "-c", READER, str(sent), str(taken)],
        capture_output=True,
        text=True,
        preexec_fn=limit,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "the upload could not be stored: File too large" in done.stdout
    assert names(tmp_path) == ["sent"]


def test_the_sandbox_process_gets_no_secrets(sent, taken, monkeypatch):
    from reelgrid.media import upload

    monkeypatch.setenv("REELGRID_DATABASE", "postgresql://secret@host")
    assert "secret" not in str(upload._environment())
