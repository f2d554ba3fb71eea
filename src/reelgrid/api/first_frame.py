"""The first frame of a clip: a file, a data URL or something made here, stored as a blob of a PNG.

Untrusted files are read by `media.upload`, in a process of its own with bounded memory. Nothing is
fetched from anywhere.
"""

import base64
import binascii
import re
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Any

from reelgrid.api.auth import Caller
from reelgrid.api.errors import ApiError
from reelgrid.api.fields import Reference, Upload, parse
from reelgrid.api.service import Service
from reelgrid.errors import RequestError
from reelgrid.jobs.job import JobKind
from reelgrid.media.upload import UploadLimits, read_uploaded_image, read_uploaded_video

_DATA_URL = re.compile(r"data:image/(?:png|jpe?g|webp)(?:;[a-z0-9=._-]+)*;base64,", re.IGNORECASE)
_PARAM = "input_reference"


def is_given(value: object) -> bool:
    """Return whether an image is given, in one of the three ways; an empty file is not one.

    Raises:
        RequestError: It is given in another way.
    """
    if value is None or (isinstance(value, Upload) and not value.size_bytes):
        return False
    if not isinstance(value, Upload):
        _reference(value)
    return True


def store_first_frame(service: Service, caller: Caller, given: object) -> str | None:
    """Return the blob of the image that is given, `None` where nothing is given.

    Raises:
        RequestError: It is not an image.
    """
    if not is_given(given):
        return None
    name = f"inputs/{secrets.token_hex(12)}.png"
    with tempfile.TemporaryDirectory(prefix="reelgrid-") as folder:
        image = Path(folder) / "image.png"
        _read(service, caller, given, image)
        service.blobs.put(name, image)
    return name


def _read(service: Service, caller: Caller, given: object, image: Path) -> None:
    """Write the image that is given as a PNG."""
    source = image.with_name("given")
    limits = UploadLimits(max_bytes=service.limits.max_body_bytes)
    if isinstance(given, Upload):
        with source.open("wb") as file:
            shutil.copyfileobj(given.file, file)
        read_uploaded_image(source, image, limits=limits)
        return
    reference = _reference(given)
    if reference.image_url is not None:
        source.write_bytes(_decode(reference.image_url))
        read_uploaded_image(source, image, limits=limits)
        return
    assert reference.file_id is not None
    _read_own(service, caller, reference.file_id, image)


def _reference(given: object) -> Reference:
    if not isinstance(given, dict):
        raise RequestError(
            "input_reference is a file, or an object with image_url or file_id", param=_PARAM
        )
    values: dict[str, Any] = given
    reference = parse(Reference, values)
    if (reference.image_url is None) == (reference.file_id is None):
        raise RequestError("input_reference takes one of image_url and file_id", param=_PARAM)
    return reference


def _decode(url: str) -> bytes:
    match = _DATA_URL.match(url[:200])
    if match is None:
        raise ApiError(
            400,
            "image_url is a data: URL of PNG, JPEG or WebP in base64: this server fetches nothing",
            code="invalid_image_url",
            param=_PARAM,
        )
    try:
        return base64.b64decode(url[match.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise RequestError("image_url is not base64", param=_PARAM) from None


def _read_own(service: Service, caller: Caller, file_id: str, image: Path) -> None:
    """Write an image that was made here, or the last frame of a video."""
    kind = JobKind.IMAGE if file_id.startswith("image_") else JobKind.VIDEO
    job = service.own_completed(caller, file_id, kind)
    name = next(iter(job.files.values())) if kind is JobKind.IMAGE else job.files["video"]
    read = read_uploaded_image if kind is JobKind.IMAGE else read_uploaded_video
    with service.blobs.as_file(name) as made:
        read(made, image)
