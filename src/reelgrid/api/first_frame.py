"""Pictures that a clip begins with: a file, a data URL or something made here, to a blob of a PNG.

What strangers send is read by `media.upload`, in a process of its own with bounded memory. Nothing
is fetched from anywhere. Not here: whether the model can begin with a picture.
"""

import base64
import binascii
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reelgrid.api.auth import Caller
from reelgrid.api.bodies import Upload
from reelgrid.api.errors import ApiError
from reelgrid.api.fields import Reference, check
from reelgrid.api.service import Service
from reelgrid.errors import NotFoundError, RequestError
from reelgrid.jobs.job import Job, JobKind, Phase
from reelgrid.media.upload import UploadLimits, read_uploaded_image, read_uploaded_video

VIDEO_ID = re.compile(r"video_[0-9a-f]{24}")
IMAGE_ID = re.compile(r"image_[0-9a-f]{24}")

_DATA_URL = re.compile(r"data:image/(?:png|jpe?g|webp)(?:;[a-z0-9=._-]+)*;base64,", re.IGNORECASE)
_PARAM = "input_reference"


def own_job(service: Service, caller: Caller, job_id: str, kind: JobKind = JobKind.VIDEO) -> Job:
    """Return a job of the caller's.

    Raises:
        NotFoundError: There is none of this kind; another's counts as none.
    """
    pattern = VIDEO_ID if kind is JobKind.VIDEO else IMAGE_ID
    if not pattern.fullmatch(job_id):
        raise NotFoundError(f"there is no {kind} {job_id[:80]!r}", param="id")
    try:
        return service.job_queue.get(job_id, owner=caller.owner)
    except NotFoundError:
        raise NotFoundError(f"there is no {kind} {job_id!r}", param="id") from None


def own_completed(
    service: Service, caller: Caller, job_id: str, kind: JobKind = JobKind.VIDEO
) -> Job:
    """Return a job of the caller's that has its files.

    Raises:
        NotFoundError: There is none of this kind.
        ApiError: It is not completed, or its files have expired.
    """
    job = own_job(service, caller, job_id, kind)
    if job.phase is not Phase.COMPLETED:
        raise ApiError(
            400, f"{job.id} is {job.status}, not completed", code=f"{kind}_not_completed"
        )
    if not job.files:
        raise ApiError(404, f"the files of {job.id} have expired", code="expired")
    return job


def is_given(value: object) -> bool:
    """Return whether a picture is given in one of the three ways; an empty file is none.

    Raises:
        RequestError: It is given in another way.
    """
    if value is None or (isinstance(value, Upload) and not value.size_bytes):
        return False
    if not isinstance(value, Upload):
        _reference(value)
    return True


@contextmanager
def first_frame_blob(service: Service, caller: Caller, given: object) -> Iterator[str | None]:
    """Yield the blob of the picture that is given; it is removed if the block raises.

    Yields:
        The blob's name, none where nothing is given.

    Raises:
        RequestError: It is no picture.
    """
    if not is_given(given):
        yield None
        return
    name = f"inputs/{secrets.token_hex(12)}.png"
    with tempfile.TemporaryDirectory(prefix="reelgrid-") as folder:
        picture = Path(folder) / "picture.png"
        _read(service, caller, given, picture)
        service.blobs.put(name, picture)
    try:
        yield name
    except BaseException:
        service.blobs.delete(name)
        raise


def _read(service: Service, caller: Caller, given: object, picture: Path) -> None:
    """Write what is given as a PNG."""
    source = picture.with_name("given")
    limits = UploadLimits(max_bytes=service.limits.max_body_bytes)
    if isinstance(given, Upload):
        with source.open("wb") as file:
            shutil.copyfileobj(given.file, file)
        read_uploaded_image(source, picture, limits=limits)
        return
    reference = _reference(given)
    if reference.image_url is not None:
        source.write_bytes(_data(reference.image_url))
        read_uploaded_image(source, picture, limits=limits)
        return
    assert reference.file_id is not None
    _take_own(service, caller, reference.file_id, picture)


def _reference(given: object) -> Reference:
    if not isinstance(given, dict):
        raise RequestError(
            "input_reference is a file, or an object with image_url or file_id", param=_PARAM
        )
    values: dict[str, Any] = given
    reference = check(Reference, values)
    if (reference.image_url is None) == (reference.file_id is None):
        raise RequestError("input_reference takes one of image_url and file_id", param=_PARAM)
    return reference


def _data(url: str) -> bytes:
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


def _take_own(service: Service, caller: Caller, file_id: str, picture: Path) -> None:
    """Take an image that was made here, or the last frame of a video."""
    kind = JobKind.IMAGE if file_id.startswith("image_") else JobKind.VIDEO
    job = own_completed(service, caller, file_id, kind)
    with service.blobs.as_file(next(iter(job.files.values()))) as made:
        if kind is JobKind.IMAGE:
            read_uploaded_image(made, picture)
        else:
            with service.blobs.as_file(job.files["video"]) as clip:
                read_uploaded_video(clip, picture)
