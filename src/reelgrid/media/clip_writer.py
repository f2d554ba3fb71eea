"""Write frames to a file of any format, atomically; check a path before any work is done."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reelgrid.errors import GenerationError, RequestError
from reelgrid.media.image_writer import write_animation, write_folder, write_lossy, write_png
from reelgrid.media.provenance import Provenance
from reelgrid.media.video_writer import write_video
from reelgrid.store.atomic import atomic_write, atomic_write_folder

_FRAME_FILE = re.compile(r"frame_\d+\.png")


class OutputFormat(Enum):
    """The format of an output path, by its suffix; without a suffix, a folder of frames."""

    MP4 = ".mp4"
    WEBM = ".webm"
    GIF = ".gif"
    WEBP = ".webp"
    PNG = ".png"
    FOLDER = ""

    @classmethod
    def of(cls, path: Path) -> "OutputFormat":
        """Return the format of an output path.

        Raises:
            RequestError: No format has this suffix.
        """
        if path.is_dir():
            return cls.FOLDER
        try:
            return cls(path.suffix.lower())
        except ValueError:
            known = ", ".join(each.value for each in cls if each.value)
            raise RequestError(
                f"{path}: unknown extension {path.suffix!r}: use one of {known}, "
                "or a name without extension for a folder of frames",
                param="output",
            ) from None


def check_output(path: Path, num_frames: int) -> None:
    """Refuse a path to which `num_frames` frames cannot be written.

    Raises:
        RequestError: The extension, the number of frames or the folder does not fit.
    """
    _check_name(path)
    output_format = OutputFormat.of(path)
    if output_format is OutputFormat.PNG and num_frames > 1:
        raise RequestError(
            f"{path}: a .png holds one frame, not {num_frames}: ask for one image, or give .mp4 "
            "or a name without extension for a folder of frames",
            param="output",
        )
    _check_folder(path.parent)
    if output_format is OutputFormat.FOLDER and path.exists():
        _check_only_frames(path)


def _check_name(path: Path) -> None:
    """Refuse a path that names neither a file nor a new folder."""
    if path.name.lower() in {"", "..", *(each.value for each in OutputFormat)}:
        raise RequestError(
            f"{str(path)!r} is not the name of a file: give one such as clip.mp4, or a new folder's",
            param="output",
        )
    try:
        path.exists()
    except OSError as error:  # too long, above all
        raise RequestError(
            f"{path.name[:40]}... cannot be a file: {error.strerror}: choose another name",
            param="output",
        ) from None


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise RequestError(f"there is no folder {folder}: make it first", param="output")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RequestError(
            f"the folder {folder} cannot be written to: choose another", param="output"
        )


def _check_only_frames(folder: Path) -> None:
    if not folder.is_dir():
        raise RequestError(
            f"{folder} exists and is not a folder: choose a new name", param="output"
        )
    for file in folder.iterdir():
        if not _FRAME_FILE.fullmatch(file.name):
            raise RequestError(
                f"the folder {folder} holds other files, such as {file.name}: choose a new name",
                param="output",
            )


_IMAGE_SUFFIXES: Final = (".png", ".webp", ".jpg", ".jpeg")


def write_clip(
    frames: NDArray[np.uint8], path: Path, *, fps: float, provenance: Provenance
) -> None:
    """Write frames in the format that the suffix names; the same input gives the same bytes.

    Args:
        frames: RGB, [T, H, W, 3].
        path: `.mp4`, `.webm`, `.gif`, `.webp`, `.png` (one frame), or no suffix for a folder.
        fps: Frames per second.
        provenance: Written to the file's metadata.

    Raises:
        RequestError: These frames cannot be written to the path.
        GenerationError: The disk is full or refuses; nothing is left behind.
    """
    assert frames.ndim == 4
    assert frames.shape[3] == 3
    assert frames.dtype == np.uint8
    check_output(path, len(frames))
    with translate_write_errors(path):
        _write(frames, path, fps, provenance)


def write_image(
    picture: NDArray[np.uint8], path: Path, *, provenance: Provenance, quality: int = 90
) -> None:
    """Write one picture in the format that the suffix names; the same input gives the same bytes.

    Args:
        picture: RGB, [H, W, 3].
        path: `.png`, `.webp`, `.jpg` or `.jpeg`.
        provenance: Written to the file's metadata.
        quality: 0 to 100, for WebP and JPEG; PNG is lossless.

    Raises:
        RequestError: The suffix names no image format, or the quality is out of range.
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
    with translate_write_errors(path), atomic_write(path) as temporary:
        if path.suffix.lower() == ".png":
            write_png(picture, temporary, provenance)
        else:
            write_lossy(picture, temporary, provenance, quality)


@contextmanager
def translate_write_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` from writing `path` into a `GenerationError` of one line.

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
    match OutputFormat.of(path):
        case OutputFormat.FOLDER:
            with atomic_write_folder(path) as temporary:
                write_folder(frames, temporary, provenance)
        case OutputFormat.MP4 | OutputFormat.WEBM:
            with atomic_write(path) as temporary:
                write_video(frames, temporary, fps, provenance)
        case OutputFormat.GIF | OutputFormat.WEBP:
            with atomic_write(path) as temporary:
                write_animation(frames, temporary, fps, provenance)
        case OutputFormat.PNG:
            with atomic_write(path) as temporary:
                write_png(frames[0], temporary, provenance)
