"""The images of the openai package: generations, whole or as a stream, and edits.

An image is a job like any other, first in the queue because its client holds a connection open; when
the client disconnects, the job is cancelled.
"""

import base64
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from reelgrid.api import openapi, schemas
from reelgrid.api.admission import admit, check_queue, new_images
from reelgrid.api.auth import CallerHere
from reelgrid.api.bodies import read_body
from reelgrid.api.content import image_path
from reelgrid.api.errors import ApiError, UnsupportedError
from reelgrid.api.events import Listener, event_bytes, event_stream
from reelgrid.api.fields import ImageEditFields, ImageFields
from reelgrid.api.middleware import WriteTurns
from reelgrid.api.service import Service, ServiceHere
from reelgrid.catalog import ModelCard
from reelgrid.errors import NotFoundError, ReelgridError
from reelgrid.jobs.job import Job, NewJob, Phase
from reelgrid.jobs.request import JobRequest, file_variant, partial_blob

POLL_EVERY_S = 0.2
LONGEST_WAIT_S = 570.0
"""The openai package gives up after 600 s and sends the request again."""

router = APIRouter(prefix="/v1/images", tags=["images"])


@router.post(
    "/generations",
    **openapi.route(
        schemas.ImagesResponse, body=ImageFields, admits=True, more=(422,), streams=True
    ),
)
async def generate_images(
    service: ServiceHere,
    caller: CallerHere,
    request: Request,
    turns: WriteTurns,
    fields: Annotated[ImageFields, read_body(ImageFields)],
) -> Response:
    """Make images and wait for them, or follow them as server-sent events."""

    def prepare() -> NewJob:
        card = service.models.find(fields.model, kind="image")
        _check_supported(card, fields)
        new = new_images(service, caller, card, fields)
        check_queue(service, new, service.limits.max_image_wait_s, "max_image_wait_s")
        return new

    new = await run_in_threadpool(prepare)
    async with turns:
        job = await run_in_threadpool(admit, service, caller, new)
    if fields.stream:
        return event_stream(_ImageStream(service, job, fields).events())
    finished = await _wait(service, request, job)
    base_url = str(request.base_url).rstrip("/")
    return JSONResponse(await run_in_threadpool(_images, service, finished, fields, base_url))


@router.post("/edits", **openapi.route(schemas.ImagesResponse, body=ImageEditFields, admits=True))
def edit_images(
    service: ServiceHere,
    caller: CallerHere,
    fields: Annotated[ImageEditFields, read_body(ImageEditFields)],
) -> JSONResponse:
    """Change an image: refused, as no model here can."""
    card = service.models.find(fields.model, kind="image")
    reason = "no model here takes an image and gives one back"
    raise UnsupportedError(card, "edit an image", reason, "image")


@dataclass(frozen=True, slots=True)
class _Restricted:
    """A field of which this server supports some values only: these, and why no others."""

    name: str
    supported: tuple[object, ...]
    reason: str


_RESTRICTED = (
    _Restricted("quality", ("auto", "standard", "medium"), "set num_inference_steps instead"),
    _Restricted("background", ("auto", "opaque"), "every pixel of its images is opaque"),
    _Restricted("moderation", ("low",), "this server has no filter: give low"),
    _Restricted(
        "output_format", ("png", "webp", "jpeg"), "request a video to get more than one frame"
    ),
    _Restricted("style", (), "it has no styles: describe the style in the prompt"),
    _Restricted("frame_count", (), "request a video"),
    _Restricted("frame_duration_ms", (), "request a video"),
    _Restricted("complexity", (), "it draws no svg"),
    _Restricted("svg", (), "it draws no svg"),
)


def _check_supported(card: ModelCard, fields: ImageFields) -> None:
    for field in _RESTRICTED:
        value = getattr(fields, field.name)
        if value is not None and value not in field.supported:
            raise UnsupportedError(
                card, f"do {field.name} {str(value)[:40]!r}", field.reason, field.name
            )
    if fields.output_compression is not None and fields.output_format in {None, "png"}:
        raise UnsupportedError(card, "compress png", "png loses nothing", "output_compression")
    if fields.partial_images and not fields.stream:
        raise UnsupportedError(card, "send partial images", "set stream", "partial_images")
    if fields.stream and fields.response_format == "url":
        raise UnsupportedError(
            card, "stream links", "a stream contains the images", "response_format"
        )


async def _wait(service: Service, request: Request, job: Job) -> Job:
    """Return the job when it is completed.

    Raises:
        ApiError: It failed, or takes too long.
    """
    give_up_s = time.monotonic() + LONGEST_WAIT_S
    async with service.broadcaster.listen(job) as listener:
        while not _is_over(listener):
            await listener.wait(POLL_EVERY_S)
            if service.broadcaster.is_closed:
                raise ApiError(
                    503, "the server stops: try again", code="stopping", retry_after_s=10
                )
            is_late = time.monotonic() > give_up_s
            if is_late or await request.is_disconnected():
                await run_in_threadpool(_cancel, service, job)
                raise ApiError(
                    429,
                    f"it took longer than {LONGEST_WAIT_S:.0f} s and was cancelled",
                    code="image_timeout",
                    headers={"x-should-retry": "false"},
                )
    return _completed(listener)


def _is_over(listener: Listener) -> bool:
    return listener.is_gone or (listener.job is not None and listener.job.phase.is_final)


def _completed(listener: Listener) -> Job:
    """Return the job of a listener, which has ended.

    Raises:
        ApiError: It failed: 422, which clients do not send again by themselves.
    """
    job = listener.job
    if job is None or job.phase is not Phase.COMPLETED:
        code = (job.error_code if job is not None else None) or "cancelled"
        message = (job.error_message if job is not None else None) or "the job was deleted"
        raise ApiError(422, message, code=code, headers={"x-should-retry": "false"})
    return job


def _cancel(service: Service, job: Job) -> None:
    with contextlib.suppress(ReelgridError):  # it has ended meanwhile
        service.job_queue.cancel(job.id)


def _images(service: Service, job: Job, fields: ImageFields, base_url: str) -> dict[str, Any]:
    request = JobRequest.from_json(job.request)
    numbers = range(request.num_images)
    if fields.response_format == "url":
        data = [{"url": _url(service, job, number, base_url)} for number in numbers]
    else:
        data = [{"b64_json": _read(service, job, number)} for number in numbers]
    return {
        "id": job.id,
        "created": int(job.created_at),
        "data": data,
        **_appearance(request),
        "usage": _usage(),
        "model": job.model,
        "seed": request.request.seed,
        "gpu_seconds": round(job.gpu_s, 3),
        "safety_identifier": fields.safety_identifier or fields.user or None,
    }


def _appearance(request: JobRequest) -> dict[str, str]:
    return {
        "size": str(request.request.size),
        "quality": "auto",
        "background": "opaque",
        "output_format": request.image_format,
    }


def _usage() -> dict[str, Any]:
    """Return the usage that OpenAI's type requires: nothing here is counted in tokens."""
    return {
        "input_tokens": 0,
        "output_tokens": 0,
        "total_tokens": 0,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    }


def _url(service: Service, job: Job, number: int, base_url: str) -> str:
    path = image_path(job.id, number)
    return f"{base_url}{path}&{service.link_signer.query(path)}"


def _read(service: Service, job: Job, number: int) -> str:
    return base64.b64encode(service.blobs.read(job.files[file_variant(number)])).decode()


class _ImageStream:
    """The events of one streamed request: partial images as they come, each image, the end."""

    def __init__(self, service: Service, job: Job, fields: ImageFields) -> None:
        self._service = service
        self._job = job
        self._request = JobRequest.from_json(job.request)
        self._identifier = fields.safety_identifier or fields.user
        self._waiting = [
            (image, number)
            for image in range(self._request.num_images)
            for number in range(self._request.num_partial_images)
        ]

    async def events(self) -> AsyncIterator[bytes]:
        """Yield the events as bytes to send; when the client disconnects, cancel the job."""
        is_over = False
        try:
            async with self._service.broadcaster.listen(self._job) as listener:
                while not _is_over(listener) and not self._service.broadcaster.is_closed:
                    await listener.wait(POLL_EVERY_S)
                    for event in await run_in_threadpool(self._partial_events):
                        yield event
                is_over = True
                for event in await run_in_threadpool(self._last_events, listener):
                    yield event
        finally:
            if not is_over:
                with anyio.CancelScope(shield=True):  # the disconnect has cancelled this task
                    await run_in_threadpool(_cancel, self._service, self._job)

    def _partial_events(self) -> list[bytes]:
        """Return the events of the partial images that are new since the last call."""
        events = []
        while self._waiting:
            image, number = self._waiting[0]
            try:
                content = self._service.blobs.read(partial_blob(self._job.id, image, number))
            except FileNotFoundError:
                break
            del self._waiting[0]
            partial = {"partial_image_index": number, "output_format": "webp"}
            events.append(self._event("partial_image", content, image, **partial))
        return events

    def _last_events(self, listener: Listener) -> list[bytes]:
        try:
            job = _completed(listener)
            events = self._partial_events()
            for image in range(self._request.num_images):
                content = self._service.blobs.read(job.files[file_variant(image)])
                said = {"usage": _usage(), "safety_identifier": self._identifier}
                events.append(self._event("completed", content, image, **said))
        except (ApiError, NotFoundError, OSError) as error:
            code = getattr(error, "code", None) or "expired"
            body = {"message": str(error), "type": "server_error", "param": None, "code": code}
            events = [event_bytes("error", {"error": body})]
        return [*events, b"data: [DONE]\n\n"]

    def _event(self, name: str, content: bytes, image: int, **more: object) -> bytes:
        data = {
            "type": f"image_generation.{name}",
            "b64_json": base64.b64encode(content).decode(),
            "created_at": int(time.time()),
            "image_index": image,
            **_appearance(self._request),
            **more,
        }
        return event_bytes(f"image_generation.{name}", data)
