"""The media type of a file by its first bytes, never by its name."""

from enum import StrEnum
from pathlib import Path
from typing import Final

HEAD_BYTES: Final = 64


class MediaType(StrEnum):
    """The media types that Reelgrid reads and writes."""

    PNG = "image/png"
    JPEG = "image/jpeg"
    WEBP = "image/webp"
    GIF = "image/gif"
    MP4 = "video/mp4"
    WEBM = "video/webm"

    @property
    def is_video(self) -> bool:
        """Whether it is a video container."""
        return self.value.startswith("video/")

    @property
    def suffix(self) -> str:
        """The usual suffix of a file name."""
        return f".{self.name.lower()}"


def media_type_of_bytes(head: bytes) -> MediaType | None:
    """Return the media type of a file that starts with these bytes, or `None` if it is unknown.

    Args:
        head: The first `HEAD_BYTES` or more.
    """
    if head.startswith(b"RIFF"):
        return MediaType.WEBP if head[8:12] == b"WEBP" else None
    if head[4:8] == b"ftyp":  # ISO/IEC 14496-12: MP4 and QuickTime, but not HEIF and AVIF
        return (
            None if head[8:12] in {b"avif", b"avis", b"heic", b"heix", b"mif1"} else MediaType.MP4
        )
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    return None


def media_type_of(path: Path) -> MediaType | None:
    """Return the media type of a file, or `None` if it is unknown."""
    with path.open("rb") as file:
        return media_type_of_bytes(file.read(HEAD_BYTES))


_MAGIC: Final = {
    b"\x89PNG\r\n\x1a\n": MediaType.PNG,
    b"\xff\xd8\xff": MediaType.JPEG,
    b"GIF87a": MediaType.GIF,
    b"GIF89a": MediaType.GIF,
    b"\x1aE\xdf\xa3": MediaType.WEBM,
}
