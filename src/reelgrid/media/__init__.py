"""Read and write images and videos; their provenance, signatures and uploads."""

from reelgrid.media.clip_writer import check_output, write_clip, write_image
from reelgrid.media.concatenation import concatenate
from reelgrid.media.image_reader import read_image
from reelgrid.media.manifest import Verdict, Verified, manifest_claims, sign, verify
from reelgrid.media.media_type import MediaType, media_type_of
from reelgrid.media.provenance import (
    Provenance,
    is_already_made,
    prompt_sha256,
    provenance_of,
    read_provenance,
)
from reelgrid.media.signer import Signer, read_signer, self_signed_signer, signer_from_settings
from reelgrid.media.thumbnails import sprite_sheet, thumbnail
from reelgrid.media.upload import UploadLimits, read_uploaded_image, read_uploaded_video
from reelgrid.media.video_reader import last_frame

__all__ = [
    "MediaType",
    "Provenance",
    "Signer",
    "UploadLimits",
    "Verdict",
    "Verified",
    "check_output",
    "concatenate",
    "is_already_made",
    "last_frame",
    "manifest_claims",
    "media_type_of",
    "prompt_sha256",
    "provenance_of",
    "read_image",
    "read_provenance",
    "read_signer",
    "read_uploaded_image",
    "read_uploaded_video",
    "self_signed_signer",
    "sign",
    "signer_from_settings",
    "sprite_sheet",
    "thumbnail",
    "verify",
    "write_clip",
    "write_image",
]
