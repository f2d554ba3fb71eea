"""Read untrusted uploads in a sandbox: a process with limited memory and processor time.

A decompression bomb, a file made to crash a decoder, or one that never ends is refused and does no
other harm. An image comes out as a new PNG without metadata, upright and in sRGB; a video as its
facts and its last frame.
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
    """Limits of an upload.

    Attributes:
        max_bytes: Size of the file.
        max_pixels: Width times height of one picture, checked before it is decoded.
        max_frames: Frames of a video.
        max_streams: Streams of a video, audio and subtitles included.
        memory_bytes: Address space of the process that reads it.
        cpu_s: Processor seconds of that process; it may run twice as long by the clock.
    """

    max_bytes: int = 64 << 20
    max_pixels: int = 25_000_000
    max_frames: int = 3_600
    max_streams: int = 8
    memory_bytes: int = 3 << 29
    cpu_s: int = 20

    def __post_init__(self) -> None:
        if min(asdict(self).values()) <= 0:
            raise ValueError(f"every limit has to be above zero: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedImage:
    """An image that was read whole; its size in pixels, upright."""

    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedVideo:
    """A video whose every frame was decoded; its size in pixels."""

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
    """Read an uploaded image and write it to `target` as a PNG that is safe to read.

    Args:
        source: The upload; PNG, JPEG or WebP by its content.
        target: The PNG to write: pixels as `image_reader` reads them, no metadata.
        limits: Limits of the upload.
        param: The request's parameter that a refusal names.

    Returns:
        Its size.

    Raises:
        RequestError: It has another type, is damaged, animated or too large, or takes too long.
        StorageFullError: The disk is full.
    """
    answer = _examine(source, target, IMAGE_KINDS, limits or UploadLimits(), param)
    return UploadedImage(**answer)


def read_uploaded_video(
    source: Path,
    last_frame: Path,
    *,
    limits: UploadLimits | None = None,
    param: str = "video",
) -> UploadedVideo:
    """Decode every frame of an uploaded video, and write the last as a PNG.

    Args:
        source: The upload; MP4 or WebM by its content.
        last_frame: The PNG to write.
        limits: Limits of the upload.
        param: The request's parameter that a refusal names.

    Returns:
        Its size, frames and rate.

    Raises:
        RequestError: It has another type, is damaged or too large, or takes too long.
        StorageFullError: The disk is full.
    """
    answer = _examine(source, last_frame, VIDEO_KINDS, limits or UploadLimits(), param)
    return UploadedVideo(**answer)


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
        found = f"it is {kind.name}" if kind else "it is of no known type"
        raise RequestError(f"the file's content is not one of {names}: {found}", param=param)
    try:
        answer = _run(source, target, kind, limits)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    if "width" in answer:
        return answer
    target.unlink(missing_ok=True)
    if "full" in answer:
        raise StorageFullError(f"the upload could not be stored: {answer['full']}")
    raise RequestError(str(answer["refusal"]), param=param)


def _run(source: Path, target: Path, kind: MediaType, limits: UploadLimits) -> dict[str, Any]:
    """Return the answer of the sandbox process, or the refusal that its exit code means."""
    command = [
        sys.executable,
        "-m",
        "reelgrid.media.upload_sandbox",
        str(source),
        str(target),
        kind.name,
    ]
    with subprocess.Popen(  # noqa: S603  # our own program, and paths that we chose
        [*command, json.dumps(asdict(limits))],
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
        answer = json.loads(out)
        if process.returncode == 0 and isinstance(answer, dict):
            return answer
    return {"refusal": f"the {kind.name} is broken or needs too much memory to read"}


def _environment() -> dict[str, str]:
    """Return the variables that the process needs to import this package, and no secrets."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return {**kept, **one_thread, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
