"""What no other server has: cancel, pause, resume, live events, and estimates before anything runs."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse

from reelgrid.api import middleware, openapi, schemas
from reelgrid.api.admission import check_caps, estimate_or_refuse, position_for
from reelgrid.api.answers import answer, remove_blobs, shown
from reelgrid.api.auth import CallerHere
from reelgrid.api.bodies import BodyValues
from reelgrid.api.errors import ApiError
from reelgrid.api.fields import EstimateFields, check
from reelgrid.api.first_frame import own_job
from reelgrid.api.service import Service, ServiceHere
from reelgrid.api.submissions import video_submission
from reelgrid.jobs.job import Job, Phase

HEARTBEAT_S = 10.0

router = APIRouter(prefix="/v1", tags=["ours"])


@router.post(
    "/videos/{video_id}/cancel",
    dependencies=middleware.WRITE_TURN,
    **openapi.route(schemas.Video, missing=True, conflict=True),
)
def cancel_video(service: ServiceHere, caller: CallerHere, video_id: str) -> JSONResponse:
    """Stop it within one step, for good; it is `failed` with the code `cancelled` then."""
    own_job(service, caller, video_id)
    job = service.job_queue.cancel(video_id, owner=caller.owner)
    if job.phase is Phase.FAILED:
        remove_blobs(service, job)
    return answer(service, job)


@router.post(
    "/videos/{video_id}/pause",
    dependencies=middleware.WRITE_TURN,
    **openapi.route(schemas.Video, missing=True, conflict=True),
)
def pause_video(service: ServiceHere, caller: CallerHere, video_id: str) -> JSONResponse:
    """Hold it back: a running one saves its state at the next step and frees its worker."""
    own_job(service, caller, video_id)
    return answer(service, service.job_queue.pause(video_id, owner=caller.owner))


@router.post(
    "/videos/{video_id}/resume",
    dependencies=middleware.WRITE_TURN,
    **openapi.route(schemas.Video, missing=True, conflict=True),
)
def resume_video(service: ServiceHere, caller: CallerHere, video_id: str) -> JSONResponse:
    """Let a paused one go on from its saved state."""
    own_job(service, caller, video_id)
    job = service.job_queue.resume(video_id, owner=caller.owner)
    service.wake()
    return answer(service, job)


@router.get(
    "/videos/{video_id}/events",
    **openapi.stream(
        "Server-sent events: `state` (the video), `progress`, `preview`.",
        "text/event-stream",
        more=(404, 429),
    ),
)
async def follow_video(
    service: ServiceHere,
    caller: CallerHere,
    video_id: str,
    last_event_id: Annotated[
        str | None, Header(max_length=200, description="What was seen last is not sent again.")
    ] = None,
) -> StreamingResponse:
    """Follow it to its end. Whoever comes back gets the present state first, never a backlog."""
    job = await run_in_threadpool(own_job, service, caller, video_id)
    if service.broadcaster.num_listeners >= service.limits.max_listeners:
        raise ApiError(
            429, "too many follow jobs already: poll instead", code="max_listeners", retry_after_s=5
        )
    return StreamingResponse(
        _events(service, job, last_event_id),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


@router.post(
    "/estimates",
    **openapi.route(schemas.EstimateResponse, body=EstimateFields, forms=True, made=True),
)
def estimate(service: ServiceHere, caller: CallerHere, values: BodyValues) -> JSONResponse:
    """Say what a video, or with `num_frames` 1 an image, would take: nothing is run or reserved."""
    fields = check(EstimateFields, values)
    wish = video_submission(service, fields)
    check_caps(service, caller, wish.order)
    said = estimate_or_refuse(service, wish)
    place = position_for(service, caller, wish, said)
    request = wish.order.request
    usd_per_h = service.usd_per_gpu_h
    return JSONResponse(
        {
            "object": "estimate",
            "model": wish.card.name,
            "size": str(request.size),
            "num_frames": request.num_frames,
            "num_inference_steps": request.num_steps,
            "seconds": said.interval_s,
            "load_seconds": round(said.load_s, 3),
            "wait_seconds": None if place.wait_s is None else round(place.wait_s, 3),
            "queue_position": place.num_ahead + 1,
            "memory_gib": said.memory_gib,
            "gpu_seconds": said.interval_s,
            "cost_usd": None if usd_per_h is None else said.cost_usd(usd_per_h),
            "basis": said.basis,
        }
    )


async def _events(service: Service, job: Job, last_event_id: str | None) -> AsyncIterator[bytes]:
    async with service.broadcaster.listen(job) as listener:
        seen = _Seen(last_event_id)
        while True:
            if not await listener.wait(HEARTBEAT_S):
                yield b": still here\n\n"
                continue
            assert listener.job is not None
            for event in await run_in_threadpool(seen.news, service, listener.job):
                yield event
            if listener.is_gone or listener.job.phase.is_final:
                if listener.is_gone and not service.broadcaster.is_closed:
                    yield _event("deleted", {"id": listener.job.id})
                return


class _Seen:
    """What one listener has been told."""

    def __init__(self, last_event_id: str | None) -> None:
        self._last_id = last_event_id
        self._state: tuple[object, ...] | None = None
        self._step: tuple[object, ...] | None = None
        self._preview: str | None = None

    def news(self, service: Service, job: Job) -> list[bytes]:
        """Return the events that tell what is new."""
        events = []
        event_id = f"{job.epoch}.{job.step}.{job.phase}.{job.requested or 'go'}"
        state = (job.status, job.detail, job.epoch)
        if state != self._state and not (self._state is None and event_id == self._last_id):
            events.append(_event("state", shown(service, job), event_id))
        elif self._step != (job.stage, job.step):
            events.append(_event("progress", _progress(service, job), event_id))
        self._state, self._step = state, (job.stage, job.step)
        if job.preview is not None and job.preview != self._preview:
            events += _preview(service, job)
            self._preview = job.preview
        return events


def _progress(service: Service, job: Job) -> dict[str, Any]:
    video = shown(service, job)
    names = ("id", "progress", "stage", "step", "num_steps", "eta_seconds", "gpu_seconds")
    return {name: video[name] for name in names}


def _preview(service: Service, job: Job) -> list[bytes]:
    assert job.preview is not None
    try:
        picture = service.blobs.read(job.preview)
    except OSError:  # overtaken by a newer one
        return []
    kind = job.preview.rpartition(".")[2]
    url = f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"
    return [_event("preview", {"id": job.id, "step": job.step, "image_url": url})]


def _event(name: str, data: object, event_id: str | None = None) -> bytes:
    number = "" if event_id is None else f"id: {event_id}\n"
    return f"event: {name}\n{number}data: {json.dumps(data)}\n\n".encode()
