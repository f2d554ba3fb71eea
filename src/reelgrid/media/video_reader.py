"""Frames of a video file that Reelgrid wrote. Not for uploads: those go through `upload`."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reelgrid.errors import RequestError


def iterate_frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a video file one by one, RGB [H, W, 3], in the order they are shown.

    Yields:
        One frame.

    Raises:
        RequestError: It is no video that can be read.
    """
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise RequestError(f"{path.name} holds no video", param="video")
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, OSError) as error:
        raise RequestError(f"{path.name} is no video that can be read: {error}") from None


def read_frames_at(path: Path, choose: Callable[[int], Sequence[int]]) -> list[NDArray[np.uint8]]:
    """Return the frames that `choose` picks, given how many there are.

    Raises:
        RequestError: It is no video that can be read, or it has no frame.
    """
    num_frames = sum(1 for _ in _packets(path))
    if num_frames == 0:
        raise RequestError(f"{path.name} holds no frame", param="video")
    wanted = set(choose(num_frames))
    return [frame for index, frame in enumerate(iterate_frames(path)) if index in wanted]


def last_frame(path: Path) -> NDArray[np.uint8]:
    """Return the frame that a video file ends with, RGB [H, W, 3].

    Raises:
        RequestError: It is no video that can be read, or it has no frame.
    """
    last = None
    for last in iterate_frames(path):  # noqa: B007  # the last one is what is wanted
        pass
    if last is None:
        raise RequestError(f"{path.name} holds no frame", param="video")
    return last


def _packets(path: Path) -> Iterator[int]:
    import av

    try:
        with av.open(str(path)) as container:
            for packet in container.demux(video=0):
                if packet.size > 0:
                    yield packet.size
    except (av.FFmpegError, OSError, IndexError) as error:
        raise RequestError(f"{path.name} is no video that can be read: {error}") from None
