"""The videos of the openai package: create, retrieve, list, delete, remix, edits, extensions."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from reelgrid.api import openapi, schemas
from reelgrid.api.admission import (
    admit,
    check_queue,
    new_extension,
    new_remix,
    new_video,
    with_first_frame,
)
from reelgrid.api.auth import Caller, CallerHere
from reelgrid.api.bodies import idempotency, read_body
from reelgrid.api.errors import ApiError, UnsupportedError
from reelgrid.api.fields import (
    CharacterFields,
    EditFields,
    ExtensionFields,
    RemixFields,
    Upload,
    VideoFields,
    VideoReference,
    parse,
)
from reelgrid.api.first_frame import store_first_frame
from reelgrid.api.middleware import WRITE_TURN, WriteTurns
from reelgrid.api.service import JOB_ID, Service, ServiceHere
from reelgrid.errors import NotFoundError, RequestError
from reelgrid.jobs.job import JobKind, NewJob, Phase

MAX_PAGE = 100

router = APIRouter(prefix="/v1/videos", tags=["videos"])
IdempotencyKey = Annotated[
    str | None, Header(max_length=200, description="The same key gives the same job again.")
]


@router.post("", **openapi.route(schemas.Video, body=VideoFields, admits=True, retry=True))
async def create_video(
    service: ServiceHere,
    caller: CallerHere,
    turns: WriteTurns,
    fields: Annotated[VideoFields, read_body(VideoFields)],
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Request a video; the response is the job."""
    return await _submit(
        service,
        caller,
        turns,
        lambda: new_video(
            service, caller, fields, **idempotency(idempotency_key, "videos", fields)
        ),
        first_frame=fields.request_values()["first_frame"],
    )


@router.get("", **openapi.route(schemas.VideoList, missing=True))
def list_videos(
    service: ServiceHere,
    caller: CallerHere,
    after: Annotated[
        str | None, Query(max_length=100, description="Return the jobs after this id.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 20,
    order: Literal["asc", "desc"] = "desc",
) -> JSONResponse:
    """List your videos by time of admission."""
    page = service.job_queue.list(
        owner=caller.owner, after=after, limit=limit, order=order, kind=JobKind.VIDEO
    )
    data = [service.job_json(job) for job in page.jobs]
    return JSONResponse(
        {
            "object": "list",
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": page.has_more,
        }
    )


@router.post("/edits", **openapi.route(schemas.Video, body=EditFields, admits=True, missing=True))
def edit_video(
    service: ServiceHere, caller: CallerHere, fields: Annotated[EditFields, read_body(EditFields)]
) -> JSONResponse:
    """Change a video: refused, as no model here can."""
    card = service.models.find(None, kind="video")
    reason = "no model here takes a whole video as input"
    raise UnsupportedError(card, "edit a video", reason, "video")


@router.post(
    "/characters", **openapi.route(schemas.Video, body=CharacterFields, admits=True, missing=True)
)
def create_character(
    service: ServiceHere,
    caller: CallerHere,
    fields: Annotated[CharacterFields, read_body(CharacterFields)],
) -> JSONResponse:
    """Make a character of a video: refused, as no model here can."""
    card = service.models.find(None, kind="video")
    raise UnsupportedError(card, "keep characters", "no model here takes them as input", "video")


@router.get("/characters/{character_id}", **openapi.route(schemas.Video, missing=True))
def get_character(service: ServiceHere, caller: CallerHere, character_id: str) -> JSONResponse:
    """Look up a character: there are none."""
    raise NotFoundError(f"there is no character {character_id[:80]!r}", param="id")


@router.post(
    "/extensions",
    **openapi.route(schemas.Video, body=ExtensionFields, admits=True, missing=True, retry=True),
)
async def extend_video(
    service: ServiceHere,
    caller: CallerHere,
    turns: WriteTurns,
    fields: Annotated[ExtensionFields, read_body(ExtensionFields)],
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Continue a video made here; the new file contains both."""

    def new_job() -> NewJob:
        repeat = idempotency(idempotency_key, "extensions", fields)
        source = service.own_completed(caller, _source_id(fields))
        return new_extension(service, caller, source, fields, **repeat)

    return await _submit(service, caller, turns, new_job)


@router.get("/{video_id}", **openapi.route(schemas.Video, missing=True))
def retrieve_video(service: ServiceHere, caller: CallerHere, video_id: str) -> JSONResponse:
    """Return a video; this is what clients poll."""
    return service.job_response(service.own_job(caller, video_id))


@router.delete(
    "/{video_id}", dependencies=WRITE_TURN, **openapi.route(schemas.DeletedVideo, missing=True)
)
def delete_video(service: ServiceHere, caller: CallerHere, video_id: str) -> JSONResponse:
    """Remove a video with its files; a running one is cancelled first."""
    service.own_job(caller, video_id)
    job = service.job_queue.delete(video_id, owner=caller.owner)
    if job.phase is not Phase.RUNNING:  # else its worker does it when it stops
        service.remove_blobs(job)
    return JSONResponse({"id": job.id, "object": "video.deleted", "deleted": True})


@router.post(
    "/{video_id}/remix",
    **openapi.route(schemas.Video, body=RemixFields, admits=True, missing=True, retry=True),
)
async def remix_video(
    service: ServiceHere,
    caller: CallerHere,
    video_id: str,
    turns: WriteTurns,
    fields: Annotated[RemixFields, read_body(RemixFields)],
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Make a video again with another prompt and the same seed."""

    def new_job() -> NewJob:
        repeat = idempotency(idempotency_key, video_id, fields)
        source = service.own_completed(caller, video_id)
        return new_remix(service, caller, source, fields.prompt, **repeat)

    return await _submit(service, caller, turns, new_job)


async def _submit(
    service: Service,
    caller: Caller,
    turns: asyncio.Semaphore,
    new_job: Callable[[], NewJob],
    first_frame: object = None,
) -> JSONResponse:
    """Return the job as the response when it is checked, its first frame read, and it is admitted.

    The first frame is read before the write turn is taken: it may take seconds. After the job is
    admitted nothing fails: a client that saw an error would send the request again.
    """

    def prepare() -> tuple[NewJob, str | None]:
        new = new_job()
        check_queue(service, new, service.limits.max_queue_s, "max_queue_s")
        blob = store_first_frame(service, caller, first_frame)
        return new if blob is None else with_first_frame(new, blob), blob

    new, blob = await run_in_threadpool(prepare)
    is_used = False
    try:
        async with turns:
            job = await run_in_threadpool(admit, service, caller, new)
        is_used = blob in job.inputs  # not if it is the job of an earlier, identical request
    finally:
        if blob is not None and not is_used:
            await run_in_threadpool(service.remove_unneeded, blob)
    return await run_in_threadpool(service.job_response, job)


def _source_id(fields: ExtensionFields) -> str:
    """Return the id of the video to extend.

    Raises:
        ApiError: It is a file.
        RequestError: There is none, or two.
        NotFoundError: It is not an id.
    """
    video = fields.video
    if isinstance(video, Upload) and not video.size_bytes:
        video = None
    if isinstance(video, Upload):
        raise ApiError(
            400,
            "only a video made here can be extended: give its id as video[id] or video_id",
            code="unsupported_capability",
            param="video",
        )
    if isinstance(video, str):
        video = {"id": video}
    named = parse(VideoReference, video).id if isinstance(video, dict) else fields.video_id
    if named is None or (fields.video_id is not None and named != fields.video_id):
        raise RequestError("give one video, as video[id] or video_id", param="video")
    if not JOB_ID[JobKind.VIDEO].fullmatch(named):
        raise NotFoundError(f"there is no video {named[:80]!r}", param="video")
    return named
