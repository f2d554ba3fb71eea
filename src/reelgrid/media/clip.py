"""Frames to a file of any format, whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reelgrid.errors import GenerationError, RequestError
from reelgrid.media.container import write_video
from reelgrid.media.output import Format, check_output
from reelgrid.media.picture import write_animation, write_folder, write_lossy, write_png
from reelgrid.media.provenance import Provenance
from reelgrid.store import write_whole, write_whole_folder

_IMAGE_SUFFIXES: Final = (".png", ".webp", ".jpg", ".jpeg")


def write_clip(
    frames: NDArray[np.uint8], path: Path, *, fps: float, provenance: Provenance
) -> None:
    """Write frames in the format that the path's suffix names; the same input gives the same bytes.

    Args:
        frames: RGB, [T, H, W, 3].
        path: `.mp4`, `.webm`, `.gif`, `.webp`, `.png` (one frame), or no suffix for a folder.
        fps: Frames a second.
        provenance: Goes into the file's metadata.

    Raises:
        RequestError: The path cannot take these frames.
        GenerationError: The disk is full or refuses; nothing is left behind.
    """
    assert frames.ndim == 4
    assert frames.shape[3] == 3
    assert frames.dtype == np.uint8
    check_output(path, len(frames))
    with one_line(path):
        _write(frames, path, fps, provenance)


def write_image(
    picture: NDArray[np.uint8], path: Path, *, provenance: Provenance, quality: int = 90
) -> None:
    """Write one picture in the format that the suffix names; the same input gives the same bytes.

    Args:
        picture: RGB, [H, W, 3].
        path: `.png`, `.webp`, `.jpg` or `.jpeg`.
        provenance: Goes into the file's metadata.
        quality: 0 to 100, for WebP and JPEG; PNG loses nothing.

    Raises:
        RequestError: The suffix names no format of images, or the quality is out of range.
        GenerationError: The disk is full or refuses; nothing is left behind.
    """
    if path.suffix.lower() not in _IMAGE_SUFFIXES:
        raise RequestError(
            f"{path.name}: an image is one of {', '.join(_IMAGE_SUFFIXES)}", param="output_format"
        )
    if not 0 <= quality <= 100:
        raise RequestError(
            f"quality {quality} is out of range: 0 to 100", param="output_compression"
        )
    with one_line(path), write_whole(path) as temporary:
        if path.suffix.lower() == ".png":
            write_png(picture, temporary, provenance)
        else:
            write_lossy(picture, temporary, provenance, quality)


@contextmanager
def one_line(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write `path` into one line that says so.

    Yields:
        Nothing.

    Raises:
        GenerationError: The disk is full or refuses; nothing is left behind.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise GenerationError(
            f"{path} could not be written: {reason}; nothing was left there"
        ) from error


def _write(frames: NDArray[np.uint8], path: Path, fps: float, provenance: Provenance) -> None:
    match Format.of(path):
        case Format.FOLDER:
            with write_whole_folder(path) as temporary:
                write_folder(frames, temporary, provenance)
        case Format.MP4 | Format.WEBM:
            with write_whole(path) as temporary:
                write_video(frames, temporary, fps, provenance)
        case Format.GIF | Format.WEBP:
            with write_whole(path) as temporary:
                write_animation(frames, temporary, fps, provenance)
        case Format.PNG:
            with write_whole(path) as temporary:
                write_png(frames[0], temporary, provenance)
