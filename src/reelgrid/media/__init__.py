"""Frames to files and back, and what the files say of how they were made.

Not here: how frames are made, and where files go.
"""

from reelgrid.media.clip import write_clip, write_image
from reelgrid.media.frames import last_frame
from reelgrid.media.kind import Kind, kind_of
from reelgrid.media.manifest import Verdict, Verified, claims_of, sign, verify
from reelgrid.media.output import check_output
from reelgrid.media.provenance import Provenance, prompt_sha256
from reelgrid.media.reading import read_image, read_provenance
from reelgrid.media.sheet import sprite_sheet, thumbnail
from reelgrid.media.signer import Signer, development_signer, read_signer, signer_of
from reelgrid.media.stitch import stitch
from reelgrid.media.unsigned import without_manifest
from reelgrid.media.upload import UploadLimits, take_image, take_video

__all__ = [
    "Kind",
    "Provenance",
    "Signer",
    "UploadLimits",
    "Verdict",
    "Verified",
    "check_output",
    "claims_of",
    "development_signer",
    "kind_of",
    "last_frame",
    "prompt_sha256",
    "read_image",
    "read_provenance",
    "read_signer",
    "sign",
    "signer_of",
    "sprite_sheet",
    "stitch",
    "take_image",
    "take_video",
    "thumbnail",
    "verify",
    "without_manifest",
    "write_clip",
    "write_image",
]
