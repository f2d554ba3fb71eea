"""Read frames of a video file that Reelgrid wrote; uploads are read in `upload`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reelgrid.errors import RequestError


def iterate_frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Yield the frames of a video file in display order, RGB [H, W, 3].

    Yields:
        One frame.

    Raises:
        RequestError: It is not a video that can be read.
    """
    with _opened(path) as container:
        if not container.streams.video:
            raise RequestError(f"{path.name} has no video stream", param="video")
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


def read_frames_at(path: Path, choose: Callable[[int], Sequence[int]]) -> list[NDArray[np.uint8]]:
    """Return the frames whose indices `choose` returns for the number of frames.

    Raises:
        RequestError: It is not a video that can be read, or it has no frame.
    """
    with _opened(path) as container:
        num_frames = sum(packet.size > 0 for packet in container.demux(video=0))
    if num_frames == 0:
        raise RequestError(f"{path.name} has no frame", param="video")
    indices = set(choose(num_frames))
    return [frame for index, frame in enumerate(iterate_frames(path)) if index in indices]


def last_frame(path: Path) -> NDArray[np.uint8]:
    """Return the last frame of a video file, RGB [H, W, 3].

    Raises:
        RequestError: It is not a video that can be read, or it has no frame.
    """
    last = None
    for last in iterate_frames(path):  # noqa: B007  # only the last one is needed
        pass
    if last is None:
        raise RequestError(f"{path.name} has no frame", param="video")
    return last


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Yield the open container; what cannot be read of it is refused."""
    import av

    try:
        with av.open(str(path)) as container:
            yield container
    except (av.FFmpegError, OSError, IndexError) as error:
        raise RequestError(f"{path.name} is not a video that can be read: {error}") from None
