"""Frames to a file of any format, whole or not at all."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reelgrid.errors import GenerationError
from reelgrid.media.container import write_video
from reelgrid.media.output import Format, check_output
from reelgrid.media.picture import write_animation, write_folder, write_png
from reelgrid.media.provenance import Provenance
from reelgrid.store import write_whole, write_whole_folder


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
    try:
        _write(frames, path, fps, provenance)
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
