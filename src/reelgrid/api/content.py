"""Finished files over HTTP: whole or in part, streamed from the blobs."""

import itertools
import re
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from reelgrid.api import openapi
from reelgrid.api.auth import Caller, CallerHere, identify
from reelgrid.api.errors import ApiError
from reelgrid.api.service import Service, ServiceHere
from reelgrid.errors import NotFoundError
from reelgrid.jobs.job import Job, JobKind
from reelgrid.jobs.request import file_variant
from reelgrid.media.media_type import MediaType as FileKind

router = APIRouter(tags=["content"])

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_IMAGES = ("image/png", "image/webp", "image/jpeg")
_MEDIA_TYPES = {kind.suffix: kind.value for kind in FileKind}
RangeHeader = Annotated[str | None, Header(alias="range", description="One range of bytes.")]
IfRange = Annotated[str | None, Header(alias="if-range")]


@router.get(
    "/v1/videos/{video_id}/content",
    **openapi.stream("The file.", "video/mp4", *_IMAGES, more=(206, 404, 416)),
)
def download_video(
    service: ServiceHere,
    caller: CallerHere,
    video_id: str,
    variant: Literal["video", "thumbnail", "spritesheet"] = "video",
    byte_range: RangeHeader = None,
    if_range: IfRange = None,
) -> Response:
    """Download a completed video, its thumbnail or its sprite sheet."""
    job = service.own_completed(caller, video_id)
    return send_file(service, job, variant, byte_range, if_range)


@router.get(
    "/v1/videos/{video_id}/preview",
    **openapi.stream("An image of the middle of the clip.", *_IMAGES, more=(404,)),
)
def preview_video(service: ServiceHere, caller: CallerHere, video_id: str) -> Response:
    """Return a frame as the current step predicts it."""
    job = service.own_job(caller, video_id)
    name = job.preview or job.files.get("thumbnail")
    if name is None:
        raise ApiError(404, f"{job.id} has no preview yet", code="no_preview")
    response = _stream(service, job, name, None, None)
    response.headers["reelgrid-step"] = str(job.step)
    response.headers["cache-control"] = "no-store"
    return response


@router.get(
    "/v1/images/{image_id}/content",
    **openapi.stream("The image.", *_IMAGES, more=(206, 404, 416)),
)
async def download_image(
    service: ServiceHere,
    request: Request,
    image_id: str,
    index: Annotated[int, Query(ge=0, le=9)] = 0,
    expires: Annotated[int | None, Query(ge=0, le=2**40)] = None,
    signature: Annotated[str | None, Query(max_length=100)] = None,
    byte_range: RangeHeader = None,
    if_range: IfRange = None,
) -> Response:
    """Download an image by the link in its response, or with the key."""
    path = image_path(image_id, index)
    is_linked = service.link_signer.is_valid(path, expires, signature)
    owner = None if is_linked else (await identify(request)).owner
    return await run_in_threadpool(
        _send_image, service, owner, image_id, index, byte_range, if_range
    )


def image_path(image_id: str, index: int) -> str:
    """Return the path of an image."""
    return f"/v1/images/{image_id}/content?index={index}"


def send_file(
    service: Service, job: Job, variant: str, byte_range: str | None, if_range: str | None
) -> StreamingResponse:
    """Return a file of a completed job.

    Raises:
        ApiError: It has expired, or the range is not within it.
    """
    if variant not in job.files:
        raise ApiError(404, f"{job.id} has no {variant}", code="no_such_variant", param="variant")
    return _stream(service, job, job.files[variant], byte_range, if_range)


def _send_image(
    service: Service,
    owner: str | None,
    image_id: str,
    index: int,
    byte_range: str | None,
    if_range: str | None,
) -> Response:
    if owner is None:
        job = service.job_queue.get(image_id)
        if job.kind is not JobKind.IMAGE:
            raise NotFoundError(f"there is no image {image_id[:80]!r}", param="id")
    else:
        job = service.own_completed(Caller(owner), image_id, JobKind.IMAGE)
    return send_file(service, job, file_variant(index), byte_range, if_range)


def _stream(
    service: Service, job: Job, name: str, byte_range: str | None, if_range: str | None
) -> StreamingResponse:
    # A blob never changes: its name contains the epoch that made it.
    etag = f'"{name.replace("/", "-")}"'
    try:
        size = service.blobs.size(name)
        start, stop = 0, size
        if byte_range is not None and if_range in {None, etag}:
            start, stop = _bounds(byte_range, size)
        pieces = service.blobs.stream(name, start, stop)
        first = next(pieces, b"")  # opens the blob: from here on it can be read to its end
    except FileNotFoundError:
        raise ApiError(404, f"the file of {job.id} has expired", code="expired") from None
    headers = {
        "content-length": str(stop - start),
        "accept-ranges": "bytes",
        "etag": etag,
        "cache-control": "private, max-age=3600",
        "content-disposition": f'attachment; filename="{job.id}{_suffix(name)}"',
    }
    if stop - start < size:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
    kind = _MEDIA_TYPES.get(_suffix(name), "application/octet-stream")
    status = 206 if stop - start < size else 200
    return StreamingResponse(itertools.chain([first], pieces), status, headers, media_type=kind)


def _suffix(name: str) -> str:
    return "." + name.rpartition(".")[2]


def _bounds(byte_range: str, size: int) -> tuple[int, int]:
    """Return the first byte of a range and the one after its last; anything else is the whole file.

    Raises:
        ApiError: The range begins after the end of the file.
    """
    match = _RANGE.fullmatch(byte_range.strip())
    if match is None or match[1] == match[2] == "":
        return 0, size
    if match[1] == "":
        start, stop = max(0, size - int(match[2])), size
    else:
        start, stop = int(match[1]), min(size, int(match[2] or size) + 1)
        if match[2] and int(match[2]) < start:
            return 0, size
    if start >= size or start >= stop:
        raise ApiError(
            416,
            f"the file has {size:,} bytes",
            code="range_not_satisfiable",
            headers={"content-range": f"bytes */{size}"},
        )
    return start, stop
