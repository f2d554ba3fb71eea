"""The sandbox process of `upload`: limits itself, reads an upload, prints one line of JSON.

It is run, not imported: any error here ends the process and is a refusal there.
"""

import errno
import json
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from reelgrid.media.image_reader import rgb_pixels
from reelgrid.media.media_type import MediaType
from reelgrid.media.upload import UploadLimits
from reelgrid.store.blobs import DISK_FULL


class UploadRefused(Exception):  # noqa: N818  # an answer, not an error
    """The upload can be read but is not accepted; the message is for its sender."""


def main() -> None:
    """Read the file that the command line names."""
    source, target, kind_name, limits_json = sys.argv[1:]
    kind, limits = MediaType[kind_name], UploadLimits(**json.loads(limits_json))
    if kind.is_video:
        import av  # noqa: F401  # before its memory is limited
    _limit_self(limits)
    examine = _examine_video if kind.is_video else _examine_image
    try:
        answer = examine(Path(source), Path(target), kind, limits)
    except UploadRefused as refusal:
        answer = {"refusal": str(refusal)}
    except OSError as error:
        if error.errno not in {*DISK_FULL, errno.EFBIG}:  # the picture's fault, not the disk's
            raise
        answer = {"full": error.strerror}
    sys.stdout.write(json.dumps(answer))


def _limit_self(limits: UploadLimits) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _examine_image(
    source: Path, target: Path, kind: MediaType, limits: UploadLimits
) -> dict[str, Any]:
    Image.MAX_IMAGE_PIXELS = None  # checked below, before anything is decoded
    with Image.open(source, formats=[kind.name]) as image:
        _check_pixels(image.width, image.height, limits)
        if getattr(image, "n_frames", 1) > 1:
            raise UploadRefused("the image is animated: send one picture")
        clean = Image.fromarray(rgb_pixels(image))  # without the picture's metadata
    clean.save(target, format="PNG")
    return {"width": clean.width, "height": clean.height}


def _check_pixels(width: int, height: int, limits: UploadLimits) -> None:
    if width * height > limits.max_pixels:
        raise UploadRefused(
            f"the picture has {width}x{height} pixels, {limits.max_pixels:,} are allowed: "
            "send a smaller one"
        )


def _examine_video(
    source: Path, target: Path, kind: MediaType, limits: UploadLimits
) -> dict[str, Any]:
    import av

    options = {"max_streams": str(4 * limits.max_streams), "protocol_whitelist": "file"}
    with av.open(str(source), format=_DEMUXERS[kind], options=options) as container:
        if len(container.streams) > limits.max_streams:
            raise UploadRefused(
                f"the video has {len(container.streams)} streams, {limits.max_streams} are allowed"
            )
        if not container.streams.video:
            raise UploadRefused("the file has no video stream")
        stream = container.streams.video[0]
        _check_pixels(stream.width, stream.height, limits)
        stream.codec_context.thread_count = 1
        num_frames, last = _read_to_the_end(container, stream, limits)
        fps = float(stream.average_rate or 0)
    last.to_image().save(target, format="PNG")
    return {"width": last.width, "height": last.height, "num_frames": num_frames, "fps": fps}


def _read_to_the_end(container: Any, stream: Any, limits: UploadLimits) -> tuple[int, Any]:
    num_frames, last = 0, None
    for frame in _checked(container.decode(stream), limits):
        num_frames, last = num_frames + 1, frame
    if last is None:
        raise UploadRefused("the video has no frame")
    if num_frames < stream.frames:  # as its index has it
        raise UploadRefused(f"the video breaks off after {num_frames} of {stream.frames} frames")
    return num_frames, last


_DEMUXERS = {MediaType.MP4: "mov", MediaType.WEBM: "matroska"}


def _checked(frames: Iterator[Any], limits: UploadLimits) -> Iterator[Any]:
    """Yield frames while they are within the limit and keep their size."""
    size = None
    for number, frame in enumerate(frames):
        if number >= limits.max_frames:
            raise UploadRefused(f"the video has more than the {limits.max_frames:,} frames allowed")
        size = size or (frame.width, frame.height)
        if (frame.width, frame.height) != size:
            raise UploadRefused("the video changes its size")
        yield frame


if __name__ == "__main__":
    main()
