"""The videos of the openai package: create, retrieve, list, delete, remix, edits, extensions."""

import contextlib
import secrets
from dataclasses import replace
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Header, Query
from fastapi.responses import JSONResponse

from reelgrid.api import describe, schemas, wire
from reelgrid.api.admission import (
    Wish,
    admit,
    check_caps,
    check_idempotency_key,
    check_queue,
    digest_of,
    place_of,
    price,
)
from reelgrid.api.auth import Asker, Caller
from reelgrid.api.bodies import BodyValues, Upload, Values
from reelgrid.api.cards import Lacking, choose_frames, choose_size, complete
from reelgrid.api.errors import Refusal
from reelgrid.api.fields import (
    CharacterFields,
    EditFields,
    ExtensionFields,
    RemixFields,
    VideoFields,
    VideoReference,
    check,
)
from reelgrid.api.references import VIDEO_ID, first_frame_blob, own_completed, own_job
from reelgrid.api.service import Service, ServiceHere
from reelgrid.catalog import ModelCard
from reelgrid.errors import NotFoundError, ReelgridError, RequestError
from reelgrid.jobs.books import Place
from reelgrid.jobs.job import Job, Kind, Phase
from reelgrid.jobs.policy import Priority
from reelgrid.jobs.request import JobRequest
from reelgrid.spec import Request

MAX_PAGE = 100
_MAX_DRAWN_SEED = 2**31

router = APIRouter(prefix="/v1/videos", tags=["videos"])
IdempotencyKey = Annotated[
    str | None, Header(max_length=200, description="The same key gives the same job again.")
]


@router.post(
    "", **describe.route(schemas.Video, body=VideoFields, forms=True, made=True, retry=True)
)
def create_video(
    service: ServiceHere,
    caller: Asker,
    values: BodyValues,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Ask for a video; the answer is the job."""
    check_idempotency_key(idempotency_key)
    fields = check(VideoFields, values)
    wish = video_wish(service, fields)
    wish = _named(wish, "videos", values, idempotency_key)
    return submit(service, caller, wish, fields.input_reference)


@router.get("", **describe.route(schemas.VideoList))
def list_videos(
    service: ServiceHere,
    caller: Asker,
    after: Annotated[str | None, Query(max_length=100, description="Go on behind this id.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 20,
    order: Literal["asc", "desc"] = "desc",
) -> JSONResponse:
    """List one's videos by time of admission."""
    page = service.desk.list(
        owner=caller.owner, after=after, limit=limit, order=order, kind=Kind.VIDEO
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
    "/edits", **describe.route(schemas.Video, body=EditFields, forms=True, made=True, missing=True)
)
def edit_video(service: ServiceHere, caller: Asker, values: BodyValues) -> JSONResponse:
    """Change a video: refused, as no model here can."""
    check(EditFields, values)
    card = service.offer.find(None, kind="video")
    raise Lacking(card, "edit a video", "no model here takes a whole video as input", "video")


@router.post(
    "/characters",
    **describe.route(schemas.Video, body=CharacterFields, forms=True, made=True, missing=True),
)
def create_character(service: ServiceHere, caller: Asker, values: BodyValues) -> JSONResponse:
    """Make a character of a video: refused, as no model here can."""
    check(CharacterFields, values)
    card = service.offer.find(None, kind="video")
    raise Lacking(card, "keep characters", "no model here is told of them", "video")


@router.get("/characters/{character_id}", **describe.route(schemas.Video, missing=True))
def get_character(service: ServiceHere, caller: Asker, character_id: str) -> JSONResponse:
    """Look up a character: there are none."""
    raise NotFoundError(f"there is no character {character_id[:80]!r}", param="id")


@router.post(
    "/extensions",
    **describe.route(
        schemas.Video, body=ExtensionFields, forms=True, made=True, missing=True, retry=True
    ),
)
def extend_video(
    service: ServiceHere,
    caller: Asker,
    values: BodyValues,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Go on from a video made here; the new file holds both."""
    check_idempotency_key(idempotency_key)
    fields = check(ExtensionFields, values)
    source = own_completed(service, caller, _source_id(fields))
    wish = _extension(service, source, fields)
    return submit(service, caller, _named(wish, "extensions", values, idempotency_key), None)


@router.get("/{video_id}", **describe.route(schemas.Video, missing=True))
def retrieve_video(service: ServiceHere, caller: Asker, video_id: str) -> JSONResponse:
    """Look at a video; this is what clients poll."""
    return answer(service, own_job(service, caller, video_id))


@router.delete("/{video_id}", **describe.route(schemas.DeletedVideo, missing=True))
def delete_video(service: ServiceHere, caller: Asker, video_id: str) -> JSONResponse:
    """Remove a video with its files; a running one is cancelled first."""
    own_job(service, caller, video_id)
    job = service.desk.delete(video_id, owner=caller.owner)
    if job.phase is not Phase.RUNNING:  # else its worker does it when it lets go
        remove_blobs(service, job)
    return JSONResponse({"id": job.id, "object": "video.deleted", "deleted": True})


@router.post(
    "/{video_id}/remix",
    **describe.route(
        schemas.Video, body=RemixFields, forms=True, made=True, missing=True, retry=True
    ),
)
def remix_video(
    service: ServiceHere,
    caller: Asker,
    video_id: str,
    values: BodyValues,
    idempotency_key: IdempotencyKey = None,
) -> JSONResponse:
    """Make it again with another prompt and the same seed."""
    check_idempotency_key(idempotency_key)
    fields = check(RemixFields, values)
    source = own_completed(service, caller, video_id)
    order = JobRequest.from_json(source.request)
    remade = JobRequest.from_json(
        order.to_json() | {"request": order.request.with_(prompt=fields.prompt).to_json()}
    )
    wish = Wish(
        kind=Kind.VIDEO,
        card=service.offer.find(source.model),
        order=remade,
        priority=source.priority,
        remixed_from=source.id,
    )
    _check_inputs(service, remade)
    return submit(service, caller, _named(wish, source.id, values, idempotency_key), None)


def video_wish(service: Service, fields: VideoFields) -> Wish:
    """Return what the fields of a video ask for, complete but for its first frame.

    Raises:
        RequestError: The model cannot do it.
        Refusal: There is no such model, or a field says what cannot be.
    """
    card = service.offer.find(fields.model, kind="video")
    reference = fields.input_reference
    has_first_frame = reference is not None and not (
        isinstance(reference, Upload) and not reference.size_bytes
    )
    request = complete(card, _request(card, fields), has_first_frame=has_first_frame)
    return Wish(
        kind=Kind.VIDEO,
        card=card,
        order=JobRequest(request=request),
        priority=Priority[(fields.priority or "normal").upper()],
        deadline_at=fields.deadline,
        webhook=_checked_webhook(fields.webhook),
    )


def submit(service: Service, caller: Caller, wish: Wish, reference: object) -> JSONResponse:
    """Check the caps, read the first frame, admit the job, and answer it.

    After the job is admitted nothing here fails: a client that saw an error would send it again.

    Returns:
        The job as the client sees it.

    Raises:
        Refusal: A cap, a limit or a full disk says no.
    """
    check_caps(service, caller, wish.order)
    estimate = price(service, wish)
    check_queue(
        service, place_of(service, wish, estimate), service.limits.max_queue_s, "max_queue_s"
    )
    with first_frame_blob(service, caller, reference) as blob:
        if blob is not None:
            wish = with_order(wish, first_frame=blob)
        job = admit(service, caller, wish, estimate)
    if blob is not None and blob not in job.inputs:  # the job of an earlier, identical request
        service.blobs.delete(blob)
    return answer(service, job)


def with_order(wish: Wish, **changes: object) -> Wish:
    """Return a wish with some fields of its order changed."""
    return replace(wish, order=replace(wish.order, **changes))  # type: ignore[arg-type]  # checked


def answer(service: Service, job: Job) -> JSONResponse:
    """Return a job as the client sees it, with how long it should wait before it looks again."""
    place = _place(service, job)
    headers = {"openai-poll-after-ms": str(wire.poll_after_ms(job, place))}
    return JSONResponse(wire.video(job, place, _spread(service, job)), headers=headers)


def shown(service: Service, job: Job) -> dict[str, Any]:
    """Return a job as the client sees it."""
    return wire.video(job, _place(service, job), _spread(service, job))


def remove_blobs(service: Service, job: Job) -> None:
    """Remove what no other job needs; what cannot be removed now, the sweep finds."""
    names = {*job.files.values(), *job.inputs, *(state.blob for state in job.states)}
    names |= {job.preview} if job.preview else set()
    with contextlib.suppress(ReelgridError, OSError):
        for name in names - service.desk.blob_names():
            service.blobs.delete(name)


def _place(service: Service, job: Job) -> Place | None:
    if job.phase is not Phase.WAITING:
        return None
    with contextlib.suppress(ReelgridError):
        return service.desk.place_of(rank=job.rank, memory_gib=job.memory_gib, model=job.model)
    return None


def _spread(service: Service, job: Job) -> float:
    if job.phase.is_final:
        return 1.0
    with contextlib.suppress(ReelgridError, ValueError, TypeError):
        return service.estimator.spread(job)
    return 1.0


def _request(card: ModelCard, fields: VideoFields) -> Request:
    seed = secrets.randbelow(_MAX_DRAWN_SEED) if fields.seed is None else fields.seed
    return Request(
        prompt=fields.prompt,
        negative_prompt=fields.negative_prompt,
        size=choose_size(fields.size, fields.width, fields.height),
        num_frames=choose_frames(card, fields.seconds, fields.num_frames, fields.fps),
        fps=fields.fps,
        num_steps=fields.num_inference_steps,
        guidance_scale=fields.guidance_scale,
        seed=seed,
    )


def _named(wish: Wish, route: str, values: Values, idempotency_key: str | None) -> Wish:
    """Return the wish with what tells a repeated request from another one."""
    if idempotency_key is None:
        return wish
    return replace(wish, idempotency_key=idempotency_key, digest=digest_of(route, values))


def _checked_webhook(url: str | None) -> str | None:
    """Return an address that may be told of the end; where it leads is checked when it is told."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        is_good = False
    if not is_good or any(letter <= " " for letter in url):
        raise RequestError("webhook is an http or https address", param="webhook")
    if parts.username or parts.password:
        raise RequestError("a webhook's address holds no user and no password", param="webhook")
    return url


def _source_id(fields: ExtensionFields) -> str:
    video = fields.video
    if isinstance(video, Upload) and not video.size_bytes:
        video = None
    if isinstance(video, Upload):
        raise Refusal(
            400,
            "only a video made here can be extended: give its id as video[id] or video_id",
            code="unsupported_capability",
            param="video",
        )
    if isinstance(video, str):
        video = {"id": video}
    named = check(VideoReference, video).id if isinstance(video, dict) else fields.video_id
    if named is None or (fields.video_id is not None and named != fields.video_id):
        raise RequestError("give one video, as video[id] or video_id", param="video")
    if not VIDEO_ID.fullmatch(named):
        raise NotFoundError(f"there is no video {named[:80]!r}", param="video")
    return named


def _extension(service: Service, source: Job, fields: ExtensionFields) -> Wish:
    card = service.offer.find(source.model)
    if not card.can_first_frame:
        raise Lacking(card, "extend a video", "it takes no first frame", "video")
    before = JobRequest.from_json(source.request)
    asked = before.request.with_(
        prompt=fields.prompt, num_frames=card.frames_for(float(fields.seconds), before.request.fps)
    )
    order = JobRequest(
        request=complete(card, asked, has_first_frame=True),
        extends=source.files["video"],
        extends_s=float(wire.seconds(source)),
    )
    return Wish(
        kind=Kind.VIDEO,
        card=card,
        order=order,
        priority=source.priority,
        extended_from=source.id,
    )


def _check_inputs(service: Service, order: JobRequest) -> None:
    """Refuse to make something again whose first frame is gone."""
    for blob in order.inputs:
        if not service.blobs.exists(blob):
            raise Refusal(404, "the picture that it began with has expired", code="expired")
