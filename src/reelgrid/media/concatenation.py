"""Concatenate two clips in one MP4, as an extension of a clip needs it.

Where both have the same encoding, their packets are copied and no pixel changes; otherwise the
frames of both are encoded again with the settings of `video_writer`.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from reelgrid.errors import RequestError
from reelgrid.media.clip_writer import translate_write_errors
from reelgrid.media.provenance import Provenance
from reelgrid.media.video_reader import iterate_frames
from reelgrid.media.video_writer import check_num_frames, encode, open_to_write
from reelgrid.store.atomic import atomic_write


def concatenate(first: Path, second: Path, path: Path, *, provenance: Provenance) -> int:
    """Write `first` followed by `second` to an MP4.

    Args:
        first: A video file; the result has its frame rate.
        second: A video file of the same size.
        path: Ends in `.mp4`.
        provenance: Written to the file's metadata.

    Returns:
        The number of frames.

    Raises:
        RequestError: One is not a video, or their sizes differ.
        GenerationError: The disk is full or refuses; nothing is left behind.
    """
    streams = [_read_stream(clip) for clip in (first, second)]
    if streams[0].size != streams[1].size:
        raise RequestError(
            f"a clip of {streams[1].size} pixels cannot follow one of {streams[0].size}",
            param="size",
        )
    num_frames = sum(each.num_frames for each in streams)
    with translate_write_errors(path), atomic_write(path) as temporary:
        if streams[0].encoding == streams[1].encoding and streams[0].encoding[0] == "h264":
            _copy_packets((first, second), temporary, provenance)
        else:
            with open_to_write(temporary, provenance) as target:
                frames = itertools.chain(iterate_frames(first), iterate_frames(second))
                encode(target, frames, temporary.suffix, streams[0].fps)
        check_num_frames(temporary, num_frames)
    return num_frames


@dataclass(frozen=True, slots=True)
class _Stream:
    """A video stream; packets can be copied between streams of one encoding."""

    size: str
    fps: Fraction
    num_frames: int
    encoding: tuple[object, ...]


def _read_stream(clip: Path) -> _Stream:
    import av

    try:
        with av.open(str(clip)) as container:
            stream = container.streams.video[0]
            context = stream.codec_context
            return _Stream(
                size=f"{stream.width}x{stream.height}",
                fps=Fraction(stream.average_rate),
                num_frames=sum(packet.size > 0 for packet in container.demux(stream)),
                encoding=(context.name, context.extradata, stream.time_base, stream.average_rate),
            )
    except (av.FFmpegError, OSError, IndexError) as error:
        raise RequestError(
            f"{clip.name} is not a video that can be read: {error}", param="video"
        ) from None


def _copy_packets(clips: Iterable[Path], path: Path, provenance: Provenance) -> None:
    import av

    with open_to_write(path, provenance) as target:
        stream: Any = None
        start = 0  # of the clip, in units of the time base
        for clip in clips:
            with av.open(str(clip)) as source:
                template = source.streams.video[0]
                stream = stream or target.add_stream_from_template(template)
                length = 0
                for packet in source.demux(template):
                    if packet.size == 0:
                        continue
                    length += packet.duration
                    packet.pts += start
                    packet.dts += start
                    packet.stream = stream
                    target.mux(packet)
                start += length
