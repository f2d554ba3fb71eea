"""Where a clip may be written and in which format, found out before any work is done."""

import os
import re
from enum import Enum
from pathlib import Path

from reelgrid.errors import RequestError

_FRAME_FILE = re.compile(r"frame_\d+\.png")


class Format(Enum):
    """What a path asks for, by its suffix; without a suffix it is a folder of frames."""

    MP4 = ".mp4"
    WEBM = ".webm"
    GIF = ".gif"
    WEBP = ".webp"
    PNG = ".png"
    FOLDER = ""

    @classmethod
    def of(cls, path: Path) -> "Format":
        """Return the format that `path` asks for.

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
    """Refuse a place that cannot take `num_frames` frames.

    Raises:
        RequestError: The extension, the number of frames or the folder will not do.
    """
    _check_name(path)
    wanted = Format.of(path)
    if wanted is Format.PNG and num_frames > 1:
        raise RequestError(
            f"{path}: a .png holds one frame, not {num_frames}: ask for one image, or give .mp4 "
            "or a name without extension for a folder of frames",
            param="output",
        )
    _check_folder(path.parent)
    if wanted is Format.FOLDER and path.exists():
        _check_only_frames(path)


def _check_name(path: Path) -> None:
    """Refuse what names no file and no folder of its own."""
    if path.name.lower() in {"", "..", *(each.value for each in Format)}:
        raise RequestError(
            f"{str(path)!r} is no name for a file: give one such as clip.mp4, or a new folder's",
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
        raise RequestError(f"{folder} is there and is no folder: choose a new name", param="output")
    for file in folder.iterdir():
        if not _FRAME_FILE.fullmatch(file.name):
            raise RequestError(
                f"the folder {folder} holds other files, such as {file.name}: choose a new name",
                param="output",
            )
