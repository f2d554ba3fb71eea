"""Frames to files and back, and what the files say of how they were made.

Not here: how frames are made, and where files go.
"""

from reelgrid.media.clip import write_clip
from reelgrid.media.output import check_output
from reelgrid.media.provenance import Provenance
from reelgrid.media.reading import read_image, read_provenance

__all__ = ["Provenance", "check_output", "read_image", "read_provenance", "write_clip"]
