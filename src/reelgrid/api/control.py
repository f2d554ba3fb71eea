"""Job control beyond the OpenAI API: cancel, pause, resume, events, estimates."""

import base64
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, StreamingResponse

from reelgrid.api import openapi, schemas
from reelgrid.api.admission import new_video
from reelgrid.api.auth import CallerHere
from reelgrid.api.bodies import read_body
from reelgrid.api.errors import ApiError
from reelgrid.api.events import event_bytes, event_stream
from reelgrid.api.fields import EstimateFields
from reelgrid.api.middleware import WRITE_TURN
from reelgrid.api.responses import interval_json
from reelgrid.api.service import Service, ServiceHere
from reelgrid.jobs.job import Job, Phase
from reelgrid.jobs.request import JobRequest
from reelgrid.units import SECONDS_PER_HOUR

COMMENT_EVERY_S = 10.0

router = APIRouter(prefix="/v1", tags=["control"])
_CHANGE: dict[str, Any] = {
    "dependencies": WRITE_TURN,
    **openapi.route(schemas.Video, missing=True, conflict=True),
}


@router.post("/videos/{video_id}/cancel", **_CHANGE)
def cancel_video(service: ServiceHere, caller: CallerHere, video_id: str) -> JSONResponse:
    """Stop a video within one step, for good; it is `failed` with the code `cancelled` then."""
    service.own_job(caller, video_id)
    job = service.job_queue.cancel(video_id, owner=caller.owner)
    if job.phase is Phase.FAILED:
        service.remove_blobs(job)
    return service.job_response(job)


@router.post("/videos/{video_id}/pause", **_CHANGE)
def pause_video(service: ServiceHere, caller: CallerHere, video_id: str) -> JSONResponse:
    """Pause a video: a running one saves a checkpoint at the next step and frees its worker."""
    service.own_job(caller, video_id)
    return service.job_response(service.job_queue.pause(video_id, owner=caller.owner))


@router.post("/videos/{video_id}/resume", **_CHANGE)
def resume_video(service: ServiceHere, caller: CallerHere, video_id: str) -> JSONResponse:
    """Resume a paused video from its checkpoint."""
    service.own_job(caller, video_id)
    job = service.job_queue.resume(video_id, owner=caller.owner)
    service.wake()
    return service.job_response(job)


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
        str | None, Header(max_length=200, description="The event with this id is not sent again.")
    ] = None,
) -> StreamingResponse:
    """Follow a video to its end. A client that reconnects gets the present state, never a backlog."""
    job = await run_in_threadpool(service.own_job, caller, video_id)
    if service.broadcaster.num_listeners >= service.limits.max_listeners:
        raise ApiError(
            429,
            "too many event streams are open: poll instead",
            code="max_listeners",
            retry_after_s=5,
        )
    return event_stream(_events(service, job, last_event_id))


@router.post(
    "/estimates", **openapi.route(schemas.EstimateResponse, body=EstimateFields, admits=True)
)
def estimate_video(
    service: ServiceHere,
    caller: CallerHere,
    fields: Annotated[EstimateFields, read_body(EstimateFields)],
) -> JSONResponse:
    """Estimate a video, or with `num_frames` 1 an image; nothing is run or reserved."""
    new = new_video(service, caller, fields)
    position = service.job_queue.position_if_submitted(new)
    request = JobRequest.from_json(new.request)
    estimate = service.estimator.estimate(service.models.find(new.model), request)
    cost_usd = None
    if service.usd_per_gpu_h is not None:
        likely_usd = estimate.seconds / SECONDS_PER_HOUR * service.usd_per_gpu_h
        cost_usd = interval_json(likely_usd, estimate.spread, num_digits=6)
    seconds = interval_json(estimate.seconds, estimate.spread)
    return JSONResponse(
        {
            "object": "estimate",
            "model": new.model,
            "size": str(request.request.size),
            "num_frames": request.request.num_frames,
            "num_inference_steps": request.num_steps,
            "seconds": seconds,
            "load_seconds": round(estimate.load_s, 3),
            "wait_seconds": None if position.wait_s is None else round(position.wait_s, 3),
            "queue_position": position.num_ahead + 1,
            "memory_gib": estimate.memory_gib,
            "gpu_seconds": seconds,
            "cost_usd": cost_usd,
            "basis": estimate.basis,
        }
    )


async def _events(service: Service, job: Job, last_event_id: str | None) -> AsyncIterator[bytes]:
    async with service.broadcaster.listen(job) as listener:
        sent = _Sent(last_event_id)
        while True:
            if not await listener.wait(COMMENT_EVERY_S):
                yield b": no news\n\n"
                continue
            assert listener.job is not None
            for event in await run_in_threadpool(sent.new_events, service, listener.job):
                yield event
            if listener.is_gone or listener.job.phase.is_final:
                if listener.is_gone and not service.broadcaster.is_closed:
                    yield event_bytes("deleted", {"id": listener.job.id})
                return


class _Sent:
    """What one client of an event stream has been sent."""

    def __init__(self, last_event_id: str | None) -> None:
        self._last_id = last_event_id
        self._state: tuple[object, ...] | None = None
        self._step: tuple[object, ...] | None = None
        self._preview: str | None = None

    def new_events(self, service: Service, job: Job) -> list[bytes]:
        """Return the events for what has changed."""
        events = []
        event_id = f"{job.epoch}.{job.step}.{job.phase}.{job.requested or 'go'}"
        state = (job.status, job.detail, job.epoch)
        if state != self._state and not (self._state is None and event_id == self._last_id):
            events.append(event_bytes("state", service.job_json(job), event_id))
        elif self._step != (job.stage, job.step):
            events.append(event_bytes("progress", _progress(service, job), event_id))
        self._state, self._step = state, (job.stage, job.step)
        if job.preview is not None and job.preview != self._preview:
            events += _preview(service, job)
            self._preview = job.preview
        return events


def _progress(service: Service, job: Job) -> dict[str, Any]:
    video = service.job_json(job)
    names = ("id", "progress", "stage", "step", "num_steps", "eta_seconds", "gpu_seconds")
    return {name: video[name] for name in names}


def _preview(service: Service, job: Job) -> list[bytes]:
    assert job.preview is not None
    try:
        content = service.blobs.read(job.preview)
    except OSError:  # a newer preview has replaced it
        return []
    kind = job.preview.rpartition(".")[2]
    url = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return [event_bytes("preview", {"id": job.id, "step": job.step, "image_url": url})]
