"""Thumbnail and sprite sheet of a clip, from its frames or from its file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reelgrid.media.video_reader import read_frames_at

THUMBNAIL_SIDE_PX: Final = 512
TILE_SIDE_PX: Final = 160
SHEET_COLUMNS: Final = 5
SHEET_TILES: Final = 25


def thumbnail(
    frames: NDArray[np.uint8] | Path, side_px: int = THUMBNAIL_SIDE_PX
) -> NDArray[np.uint8]:
    """Return the middle frame of a clip, its longer side at most `side_px`.

    Args:
        frames: RGB, [T, H, W, 3], or a video file.
        side_px: Larger frames are scaled down, smaller ones are unchanged.
    """
    (middle,) = _spread(frames, 1)
    return _within(middle, side_px)


def sprite_sheet(
    frames: NDArray[np.uint8] | Path,
    *,
    num_tiles: int = SHEET_TILES,
    columns: int = SHEET_COLUMNS,
    side_px: int = TILE_SIDE_PX,
) -> NDArray[np.uint8]:
    """Return frames spread evenly over a clip as one picture, row by row.

    Args:
        frames: RGB, [T, H, W, 3], or a video file.
        num_tiles: Number of frames at most; a shorter clip shows each of its frames once.
        columns: Tiles per row; the last row is filled with black.
        side_px: The longer side of a tile.
    """
    tiles = [_within(frame, side_px) for frame in _spread(frames, num_tiles)]
    num_columns = min(columns, len(tiles))
    num_rows = -(-len(tiles) // num_columns)
    height, width = tiles[0].shape[:2]
    sheet = np.zeros((num_rows * height, num_columns * width, 3), np.uint8)
    for number, tile in enumerate(tiles):
        row, column = divmod(number, num_columns)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
    return sheet


def spread_indices(num_frames: int, num_tiles: int) -> list[int]:
    """Return evenly spread indices: one is the middle, several include the first and the last."""
    if num_tiles == 1:
        return [num_frames // 2]
    if num_frames <= num_tiles:
        return list(range(num_frames))
    return [round(i * (num_frames - 1) / (num_tiles - 1)) for i in range(num_tiles)]


def _spread(frames: NDArray[np.uint8] | Path, num_tiles: int) -> Sequence[NDArray[np.uint8]]:
    if isinstance(frames, Path):
        return read_frames_at(frames, lambda num_frames: spread_indices(num_frames, num_tiles))
    return [frames[index] for index in spread_indices(len(frames), num_tiles)]


def _within(frame: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    height, width = frame.shape[:2]
    scale = min(1.0, side_px / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size == (width, height):
        return frame
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS))
