"""The videos of the openai package: create, retrieve, list, delete, remix, edits, extensions."""

from dataclasses import replace
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query
from fastapi.responses import JSONResponse

from reelgrid.api import middleware, openapi, schemas
from reelgrid.api.admission import (
    Submission,
    admit,
    check_caps,
    check_idempotency_key,
    check_queue,
    digest_of,
    estimate_or_refuse,
    position_for,
)
from reelgrid.api.answers import answer, remove_blobs, shown
from reelgrid.api.auth import Caller, CallerHere
from reelgrid.api.bodies import BodyValues, Values
from reelgrid.api.fields import (
    CharacterFields,
    EditFields,
    ExtensionFields,
    RemixFields,
    VideoFields,
    check,
)
from reelgrid.api.first_frame import first_frame_blob, own_completed, own_job
from reelgrid.api.registry import UnsupportedError
from reelgrid.api.service import Service, ServiceHere
from reelgrid.api.submissions import (
    extension_submission,
    remix_submission,
    source_id,
    video_submission,
)
from reelgrid.errors import NotFoundError
from reelgrid.jobs.job import JobKind, Phase

MAX_PAGE = 100

router = APIRouter(prefix="/v1/videos", tags=["videos"])
IdempotencyKey = Annotated[
    str | None, Header(max_length=200, description="The same key gives the same job again.")
]


@router.post(
    "",
    dependencies=middleware.WRITE_TURN_AFTER_BODY,
    **openapi.route(schemas.Video, body=VideoFields, forms=True, made=True, retry=True),
)
def create_video(
    service: ServiceHere,
    caller: CallerHere,
    values: BodyValues,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Ask for a video; the answer is the job."""
    check_idempotency_key(idempotency_key)
    fields = check(VideoFields, values)
    wish = video_submission(service, fields)
    wish = _named(wish, "videos", values, idempotency_key)
    return _submit(service, caller, wish, fields.input_reference)


@router.get("", **openapi.route(schemas.VideoList, missing=True))
def list_videos(
    service: ServiceHere,
    caller: CallerHere,
    after: Annotated[str | None, Query(max_length=100, description="Go on behind this id.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 20,
    order: Literal["asc", "desc"] = "desc",
) -> JSONResponse:
    """List one's videos by time of admission."""
    page = service.job_queue.list(
        owner=caller.owner, after=after, limit=limit, order=order, kind=JobKind.VIDEO
    )
    data = [shown(service, job) for job in page.jobs]
    return JSONResponse(
        {
            "object": "list",
            "data": data,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
            "has_more": page.has_more,
        }
    )


@router.post(
    "/edits", **openapi.route(schemas.Video, body=EditFields, forms=True, made=True, missing=True)
)
def edit_video(service: ServiceHere, caller: CallerHere, values: BodyValues) -> JSONResponse:
    """Change a video: refused, as no model here can."""
    check(EditFields, values)
    card = service.models.find(None, kind="video")
    raise UnsupportedError(
        card, "edit a video", "no model here takes a whole video as input", "video"
    )


@router.post(
    "/characters",
    **openapi.route(schemas.Video, body=CharacterFields, forms=True, made=True, missing=True),
)
def create_character(service: ServiceHere, caller: CallerHere, values: BodyValues) -> JSONResponse:
    """Make a character of a video: refused, as no model here can."""
    check(CharacterFields, values)
    card = service.models.find(None, kind="video")
    raise UnsupportedError(card, "keep characters", "no model here is told of them", "video")


@router.get("/characters/{character_id}", **openapi.route(schemas.Video, missing=True))
def get_character(service: ServiceHere, caller: CallerHere, character_id: str) -> JSONResponse:
    """Look up a character: there are none."""
    raise NotFoundError(f"there is no character {character_id[:80]!r}", param="id")


@router.post(
    "/extensions",
    dependencies=middleware.WRITE_TURN_AFTER_BODY,
    **openapi.route(
        schemas.Video, body=ExtensionFields, forms=True, made=True, missing=True, retry=True
    ),
)
def extend_video(
    service: ServiceHere,
    caller: CallerHere,
    values: BodyValues,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Go on from a video made here; the new file holds both."""
    check_idempotency_key(idempotency_key)
    fields = check(ExtensionFields, values)
    source = own_completed(service, caller, source_id(fields))
    wish = extension_submission(service, source, fields)
    return _submit(service, caller, _named(wish, "extensions", values, idempotency_key), None)


@router.get("/{video_id}", **openapi.route(schemas.Video, missing=True))
def retrieve_video(service: ServiceHere, caller: CallerHere, video_id: str) -> JSONResponse:
    """Look at a video; this is what clients poll."""
    return answer(service, own_job(service, caller, video_id))


@router.delete(
    "/{video_id}",
    dependencies=middleware.WRITE_TURN,
    **openapi.route(schemas.DeletedVideo, missing=True),
)
def delete_video(service: ServiceHere, caller: CallerHere, video_id: str) -> JSONResponse:
    """Remove a video with its files; a running one is cancelled first."""
    own_job(service, caller, video_id)
    job = service.job_queue.delete(video_id, owner=caller.owner)
    if job.phase is not Phase.RUNNING:  # else its worker does it when it lets go
        remove_blobs(service, job)
    return JSONResponse({"id": job.id, "object": "video.deleted", "deleted": True})


@router.post(
    "/{video_id}/remix",
    dependencies=middleware.WRITE_TURN_AFTER_BODY,
    **openapi.route(
        schemas.Video, body=RemixFields, forms=True, made=True, missing=True, retry=True
    ),
)
def remix_video(
    service: ServiceHere,
    caller: CallerHere,
    video_id: str,
    values: BodyValues,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Make it again with another prompt and the same seed."""
    check_idempotency_key(idempotency_key)
    fields = check(RemixFields, values)
    source = own_completed(service, caller, video_id)
    wish = remix_submission(service, source, fields.prompt)
    return _submit(service, caller, _named(wish, source.id, values, idempotency_key), None)


def _submit(service: Service, caller: Caller, wish: Submission, reference: object) -> JSONResponse:
    """Check the caps, read the first frame, admit the job, and answer it.

    After the job is admitted nothing here fails: a client that saw an error would send it again.

    Returns:
        The job as the client sees it.

    Raises:
        ApiError: A cap, a limit or a full disk says no.
    """
    check_caps(service, caller, wish.order)
    estimate = estimate_or_refuse(service, wish)
    check_queue(
        service,
        position_for(service, caller, wish, estimate),
        service.limits.max_queue_s,
        "max_queue_s",
    )
    with first_frame_blob(service, caller, reference) as blob:
        if blob is not None:
            wish = replace(wish, order=replace(wish.order, first_frame=blob))
        job = admit(service, caller, wish, estimate)
    if blob is not None and blob not in job.inputs:  # the job of an earlier, identical request
        service.blobs.delete(blob)
    return answer(service, job)


def _named(wish: Submission, route: str, values: Values, idempotency_key: str | None) -> Submission:
    """Return the wish with what tells a repeated request from another one."""
    if idempotency_key is None:
        return wish
    return replace(wish, idempotency_key=idempotency_key, digest=digest_of(route, values))
