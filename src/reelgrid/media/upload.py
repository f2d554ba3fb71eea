"""Files that strangers send: what they are is told by their content, in a process of its own.

The process may use so much memory and so much time and no more, so that a decompression bomb, a
file made to crash a decoder, or one that never ends costs a refusal and nothing else. An image is
handed on as a PNG without metadata, upright and in sRGB; a video only as facts and its last frame.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from reelgrid.errors import RequestError, StorageFullError
from reelgrid.media.media_type import MediaType, media_type_of

IMAGE_KINDS: Final = frozenset({MediaType.PNG, MediaType.JPEG, MediaType.WEBP})
VIDEO_KINDS: Final = frozenset({MediaType.MP4, MediaType.WEBM})


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLimits:
    """What an upload may cost.

    Attributes:
        max_bytes: Of the file.
        max_pixels: Width times height of one picture, known before it is decoded.
        max_frames: Of a video.
        max_streams: Of a video, with sound and subtitles.
        memory_bytes: Address space of the process that reads it.
        cpu_s: Seconds of work that reading may take; twice that by the clock on the wall.
    """

    max_bytes: int = 64 << 20
    max_pixels: int = 25_000_000
    max_frames: int = 3_600
    max_streams: int = 8
    memory_bytes: int = 3 << 29
    cpu_s: int = 20

    def __post_init__(self) -> None:
        if min(asdict(self).values()) <= 0:
            raise ValueError(f"limits are above zero: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedImage:
    """An image that was read whole. Sizes in pixels, after it was turned upright."""

    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedVideo:
    """A video of which every frame was decoded. Sizes in pixels."""

    width: int
    height: int
    num_frames: int
    fps: float


def read_uploaded_image(
    source: Path,
    target: Path,
    *,
    limits: UploadLimits | None = None,
    param: str = "first_frame",
) -> UploadedImage:
    """Read an uploaded image and write it to `target` as a PNG that is safe to read anywhere.

    Args:
        source: What was sent; PNG, JPEG or WebP by its content.
        target: Where the PNG goes: RGB, upright, sRGB, transparency on black, no metadata.
        limits: What it may cost.
        param: The request's parameter that a refusal names.

    Returns:
        Its size.

    Raises:
        RequestError: It is something else, broken, animated, too large or takes too long.
        StorageFullError: There is no room for the PNG.
    """
    said = _examine(source, target, IMAGE_KINDS, limits or UploadLimits(), param)
    return UploadedImage(**said)


def read_uploaded_video(
    source: Path,
    last_frame: Path,
    *,
    limits: UploadLimits | None = None,
    param: str = "video",
) -> UploadedVideo:
    """Read an uploaded video from its first frame to its last, and write the last as a PNG.

    Args:
        source: What was sent; MP4 or WebM by its content.
        last_frame: Where the PNG goes.
        limits: What it may cost.
        param: The request's parameter that a refusal names.

    Returns:
        What it holds.

    Raises:
        RequestError: It is something else, broken, too large or takes too long.
        StorageFullError: There is no room for the PNG.
    """
    said = _examine(source, last_frame, VIDEO_KINDS, limits or UploadLimits(), param)
    return UploadedVideo(**said)


def _examine(
    source: Path, target: Path, kinds: frozenset[MediaType], limits: UploadLimits, param: str
) -> dict[str, Any]:
    names = ", ".join(sorted(kind.name for kind in kinds))
    if source.stat().st_size > limits.max_bytes:
        raise RequestError(
            f"the file has {source.stat().st_size:,} bytes, {limits.max_bytes:,} are allowed",
            param=param,
        )
    kind = media_type_of(source)
    if kind not in kinds:
        found = f"it is {kind.name}" if kind else "it is none of those that are known"
        raise RequestError(f"the file's content is not one of {names}: {found}", param=param)
    try:
        said = _run(source, target, kind, limits)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    if "width" in said:
        return said
    target.unlink(missing_ok=True)
    if "full" in said:
        raise StorageFullError(f"the upload could not be stored: {said['full']}")
    raise RequestError(str(said["refusal"]), param=param)


def _run(source: Path, target: Path, kind: MediaType, limits: UploadLimits) -> dict[str, Any]:
    """Return what the examining process says, or the refusal that its end amounts to."""
    words = [
        sys.executable,
        "-m",
        "reelgrid.media.upload_sandbox",
        str(source),
        str(target),
        kind.name,
    ]
    with subprocess.Popen(  # noqa: S603  # our own program, and paths that we chose
        [*words, json.dumps(asdict(limits))],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
    ) as process:
        try:
            out, _ = process.communicate(timeout=2 * limits.cpu_s)
        except BaseException as error:
            process.kill()
            if isinstance(error, subprocess.TimeoutExpired):
                return {"refusal": f"the {kind.name} takes too long to read"}
            raise
    if process.returncode in {-signal.SIGXCPU, -signal.SIGKILL}:
        return {"refusal": f"the {kind.name} takes too long to read"}
    with contextlib.suppress(ValueError):
        said = json.loads(out)
        if process.returncode == 0 and isinstance(said, dict):
            return said
    return {"refusal": f"the {kind.name} is broken or needs too much memory to read"}


def _environment() -> dict[str, str]:
    """Return what the process needs to import this package, and nothing secret."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "SYSTEMROOT") if name in os.environ}
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return {**kept, **one_thread, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
