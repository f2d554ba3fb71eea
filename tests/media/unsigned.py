"""Restores the unsigned bytes of a signed file: an oracle for the changes that signing makes.

Each container has a place of its own for the manifest: C2PA 2.2, annex A.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from reelgrid.media.media_type import HEAD_BYTES, MediaType, media_type_of_bytes

_C2PA_UUID: Final = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_CONTAINERS: Final = {b"moov", b"trak", b"mdia", b"minf", b"stbl"}
_OFFSETS: Final = {b"stco": ">I", b"co64": ">Q"}


def without_manifest(path: Path) -> bytes:
    """Return the bytes of a file without its C2PA manifest; all of them if it has none."""
    content = path.read_bytes()
    match media_type_of_bytes(content[:HEAD_BYTES]):
        case MediaType.PNG:
            return content[:8] + b"".join(
                chunk for chunk in _png_chunks(content) if chunk[4:8] != b"caBX"
            )
        case MediaType.JPEG:
            return _jpeg_without(content)
        case MediaType.GIF:
            return _gif_without(content)
        case MediaType.WEBP:
            chunks = b"".join(part for part in _riff_chunks(content) if part[:4] != b"C2PA")
            return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks
        case MediaType.MP4:
            return _mp4_without(content)
        case _:
            return content


def _png_chunks(content: bytes) -> Iterator[bytes]:
    at = 8
    while at < len(content):
        (size,) = struct.unpack_from(">I", content, at)
        yield content[at : at + 12 + size]
        at += 12 + size


def _riff_chunks(content: bytes) -> Iterator[bytes]:
    at = 12
    while at < len(content):
        (size,) = struct.unpack_from("<I", content, at + 4)
        yield content[at : at + 8 + size + size % 2]
        at += 8 + size + size % 2


def _jpeg_without(content: bytes) -> bytes:
    kept, at = content[:2], 2
    while content[at + 1] != 0xDA:  # up to the start of the scan
        (size,) = struct.unpack_from(">H", content, at + 2)
        segment = content[at : at + 2 + size]
        if not (segment[1] == 0xEB and segment[4:6] == b"JP"):  # APP11 with JUMBF
            kept += segment
        at += 2 + size
    return kept + content[at:]


def _gif_without(content: bytes) -> bytes:
    start = content.find(b"\x21\xff\x0bC2PA_GIF")
    if start < 0:
        return content
    end = start + 14
    while content[end]:  # sub-blocks, up to the empty one
        end += 1 + content[end]
    return content[:start] + content[end + 1 :]


def _boxes(
    content: bytes | bytearray, start: int, stop: int
) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield type, start, start of the payload and end of each box of ISO/IEC 14496-12.

    Yields:
        One box.
    """
    at = start
    while at + 8 <= stop:
        size, kind = struct.unpack_from(">I4s", content, at)
        header = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", content, at + 8)
            header = 16
        end = stop if size == 0 else at + size
        yield kind, at, at + header, end
        at = end


def _mp4_without(content: bytes) -> bytes:
    for kind, start, payload, end in _boxes(content, 0, len(content)):
        if kind == b"uuid" and content[payload : payload + 16] == _C2PA_UUID:
            kept = bytearray(content[:start] + content[end:])
            _move_back(kept, 0, len(kept), start, end - start)
            return bytes(kept)
    return content


def _move_back(content: bytearray, start: int, stop: int, behind: int, by: int) -> None:
    """Correct the tables of chunk offsets, for chunks behind the bytes that were removed."""
    for kind, _, payload, end in _boxes(content, start, stop):
        if kind in _CONTAINERS:
            _move_back(content, payload, end, behind, by)
        if kind in _OFFSETS:
            form = _OFFSETS[kind]
            for at in range(payload + 8, end, struct.calcsize(form)):
                (offset,) = struct.unpack_from(form, content, at)
                struct.pack_into(form, content, at, offset - by if offset > behind else offset)
