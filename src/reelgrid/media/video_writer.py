"""Encode videos through PyAV: H.264 in MP4, VP9 in WebM.

The encoders run with a fixed number of threads and in ffmpeg's bit-exact mode, so that the same
frames give the same bytes.
"""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from reelgrid.media.provenance import AI_GENERATED, Provenance

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import OutputContainer

# Codec, its options, the container's options. Quality: visually lossless at these sizes.
_CODECS: Final[dict[str, tuple[str, dict[str, str], dict[str, str]]]] = {
    ".mp4": ("libx264", {"crf": "16", "preset": "medium"}, {"movflags": "+faststart"}),
    ".webm": ("libvpx-vp9", {"crf": "20", "b": "0", "cpu-used": "4", "row-mt": "1"}, {}),
}
_NUM_THREADS: Final = 4
_BT709: Final = 1  # the number of BT.709 in H.273, tables 2 to 4


def write_video(frames: NDArray[np.uint8], path: Path, fps: float, provenance: Provenance) -> None:
    """Encode frames [T, H, W, 3] to `path`, 4:2:0, BT.709, with the index in front.

    Raises:
        OSError: The file does not contain every frame.
    """
    with open_to_write(path, provenance) as container:
        encode(container, _padded_to_even(frames), path.suffix, fps)
    check_num_frames(path, len(frames))


def open_to_write(path: Path, provenance: Provenance) -> "OutputContainer":
    """Return a new container at `path` with the provenance in its metadata."""
    import av

    _, _, options = _CODECS[path.suffix.lower()]
    container: OutputContainer = av.open(str(path), "w", options={"fflags": "+bitexact", **options})
    container.metadata.update(
        title=provenance.title, comment=AI_GENERATED, description=provenance.to_json()
    )
    return container


def check_num_frames(path: Path, num_frames: int) -> None:
    """Check that a file contains all its frames: an encoder's last write can fail silently.

    Raises:
        OSError: A frame is missing.
    """
    import av

    with av.open(str(path)) as container:
        num_written = sum(packet.size > 0 for packet in container.demux(video=0))
    if num_written != num_frames:
        raise OSError(f"{num_written} of {num_frames} frames were written")


def encode(
    container: "OutputContainer",
    frames: Iterable[NDArray[np.uint8]],
    suffix: str,
    fps: float | Fraction,
) -> None:
    """Encode frames of one even size, RGB [H, W, 3], as the only stream of a container."""
    codec, options, _ = _CODECS[suffix.lower()]
    rate = Fraction(fps).limit_denominator(1001)
    stream: Any = container.add_stream(codec, rate=rate, options=options)
    stream.pix_fmt = "yuv420p"
    stream.codec_context.thread_count = _NUM_THREADS
    stream.codec_context.flags |= _bitexact_flag()
    for field in ("color_primaries", "color_trc", "colorspace"):
        setattr(stream.codec_context, field, _BT709)
    for number, picture in enumerate(frames):
        if number == 0:
            stream.height, stream.width = picture.shape[:2]
        container.mux(stream.encode(_to_yuv(picture)))
    container.mux(stream.encode(None))


def _to_yuv(picture: NDArray[np.uint8]) -> "VideoFrame":
    import av

    rgb = av.VideoFrame.from_ndarray(picture, format="rgb24")
    return rgb.reformat(format="yuv420p", dst_colorspace="ITU709")


def _bitexact_flag() -> int:
    from av.codec.context import Flags

    return int(Flags.bitexact)


def _padded_to_even(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeat the last column or row where their number is odd: 4:2:0 halves both."""
    height, width = frames.shape[1:3]
    pad = ((0, 0), (0, height % 2), (0, width % 2), (0, 0))
    return np.ascontiguousarray(np.pad(frames, pad, mode="edge"))
