"""Frames to files and back, and what the files say of how they were made.

Not here: how frames are made, and where files go.
"""

from reelgrid.media.clip import write_clip, write_image
from reelgrid.media.frames import last_frame
from reelgrid.media.kind import Kind, kind_of
from reelgrid.media.output import check_output
from reelgrid.media.provenance import Provenance, prompt_sha256
from reelgrid.media.reading import read_image, read_provenance
from reelgrid.media.sheet import sprite_sheet, thumbnail
from reelgrid.media.stitch import stitch
from reelgrid.media.upload import UploadLimits, take_image, take_video

__all__ = [
    "Kind",
    "Provenance",
    "UploadLimits",
    "check_output",
    "kind_of",
    "last_frame",
    "prompt_sha256",
    "read_image",
    "read_provenance",
    "sprite_sheet",
    "stitch",
    "take_image",
    "take_video",
    "thumbnail",
    "write_clip",
    "write_image",
]
