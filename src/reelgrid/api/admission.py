"""Admission control: from the fields of a body to a job in the queue, or a refusal naming its limit.

A status of 400 is the server's limit, 403 the key's, 429 what the key has used up for now, 503 full
storage. The limits on a key's jobs and GPU-seconds are checked by the queue, in the transaction that
admits the job.
"""

import contextlib
import ipaddress
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from reelgrid.api.auth import Caller
from reelgrid.api.errors import ApiError, UnsupportedError
from reelgrid.api.fields import ExtensionFields, ImageFields, VideoFields
from reelgrid.api.first_frame import is_given
from reelgrid.api.responses import seconds_text
from reelgrid.api.service import Service
from reelgrid.catalog import ModelCard
from reelgrid.errors import LimitError, RequestError, StorageFullError
from reelgrid.jobs.job import Job, JobKind, NewJob
from reelgrid.jobs.policy import Priority
from reelgrid.jobs.request import JobRequest
from reelgrid.jobs.safe_post import ForbiddenAddressError, PostTarget, is_public
from reelgrid.plan.prediction.estimate import Estimate
from reelgrid.spec import CompleteRequest, Request, Size
from reelgrid.units import SECONDS_PER_DAY

DEFAULT_IMAGE_QUALITY = 90
_MAX_DRAWN_SEED = 2**31


def new_video(service: Service, caller: Caller, fields: VideoFields, **repeat: Any) -> NewJob:
    """Return the job that the fields of a video ask for, complete except for its first frame.

    Args:
        service: The server.
        caller: Owner of the job.
        fields: Of the body.
        **repeat: From `bodies.idempotency`.

    Raises:
        RequestError: The model cannot do it.
        ApiError: There is no such model, a field is impossible, or a limit is exceeded.
    """
    card = service.models.find(fields.model, kind="video")
    asked = fields.request_values()
    asked["size"] = choose_size(asked["size"], fields.width, fields.height)
    asked["num_frames"] = choose_frames(card, fields.seconds, asked["num_frames"], asked["fps"])
    has_first_frame = is_given(asked["first_frame"])
    request = _complete(card, _request(asked), has_first_frame=has_first_frame)
    return _new_job(
        service,
        caller,
        card,
        JobRequest(request=request),
        priority=Priority[(fields.priority or "normal").upper()],
        deadline_at=fields.deadline,
        webhook=_checked_webhook(service, fields.webhook),
        **repeat,
    )


def new_remix(service: Service, caller: Caller, source: Job, prompt: str, **repeat: Any) -> NewJob:
    """Return a job that makes a video again with another prompt and all else the same.

    Raises:
        ApiError: Its first frame has expired, or a limit is exceeded.
    """
    request = JobRequest.from_json(source.request)
    if not all(service.blobs.exists(blob) for blob in request.inputs):
        raise ApiError(404, "the first frame of the video has expired", code="expired")
    return _new_job(
        service,
        caller,
        service.models.find(source.model),
        replace(request, request=request.request.with_(prompt=prompt)),
        priority=source.priority,
        remixed_from=source.id,
        **repeat,
    )


def new_extension(
    service: Service, caller: Caller, source: Job, fields: ExtensionFields, **repeat: Any
) -> NewJob:
    """Return a job that continues a video from its last frame.

    Raises:
        RequestError: The model cannot make a part of this length.
        UnsupportedError: The model takes no first frame.
        ApiError: A limit is exceeded.
    """
    card = service.models.find(source.model)
    if not card.can_first_frame:
        raise UnsupportedError(card, "extend a video", "it takes no first frame", "video")
    before = JobRequest.from_json(source.request).request
    num_frames = card.frames_for(float(fields.seconds), before.fps)
    part = before.with_(prompt=fields.prompt, num_frames=num_frames)
    request = JobRequest(
        request=_complete(card, part, has_first_frame=True),
        extends=source.files["video"],
        extends_s=float(seconds_text(source)),
    )
    return _new_job(
        service, caller, card, request, priority=source.priority, extended_from=source.id, **repeat
    )


def new_images(service: Service, caller: Caller, card: ModelCard, fields: ImageFields) -> NewJob:
    """Return the job that the fields of images ask for.

    Raises:
        RequestError: The model cannot do it.
        ApiError: A limit is exceeded.
    """
    asked = {**fields.request_values(), "num_frames": 1}
    size = None if fields.size == "auto" else fields.size
    asked["size"] = choose_size(size, fields.width, fields.height)
    quality = fields.output_compression
    request = JobRequest(
        request=_complete(card, _request(asked), has_first_frame=False),
        num_images=fields.n or 1,
        image_format=fields.output_format or "png",  # type: ignore[arg-type]  # checked before
        image_quality=DEFAULT_IMAGE_QUALITY if quality is None else quality,
        num_partial_images=(fields.partial_images or 0) if fields.stream else 0,
    )
    priority = Priority[(fields.priority or "high").upper()]
    return _new_job(service, caller, card, request, kind=JobKind.IMAGE, priority=priority)


def with_first_frame(new: NewJob, blob: str) -> NewJob:
    """Return a new job that begins with the image in a blob."""
    return replace(new, request={**new.request, "first_frame": blob}, inputs=(blob,))


def check_queue(service: Service, new: NewJob, most_s: float, limit: str) -> None:
    """Refuse a job that would wait too long.

    Raises:
        ApiError: 429, with the seconds after which the queue is short enough.
    """
    wait_s = service.job_queue.position_if_submitted(new).wait_s
    if wait_s is not None and wait_s > most_s:
        raise ApiError(
            429,
            f"the queue is {wait_s:,.0f} s long, {limit} is {most_s:,.0f}: come back later",
            code=limit,
            retry_after_s=wait_s - most_s,
        )


def admit(service: Service, caller: Caller, new: NewJob) -> Job:
    """Put a job in the queue, from where it is not lost any more, and wake a worker.

    Returns:
        The job; that of an earlier request with the same idempotency key, if there was one.

    Raises:
        KeyLimitError: The key has too many unfinished jobs, or no GPU-seconds left today.
        ConflictError: The idempotency key was used with another body.
    """
    try:
        job = service.job_queue.submit(new, limits=caller.limits)
    except LimitError as error:
        raise KeyLimitError(error) from None
    with contextlib.suppress(OSError):  # an idle worker looks by itself, a little later
        service.wake()
    return job


class KeyLimitError(ApiError):
    """A key has used up what it may have for now; the same request fails again if sent at once."""

    def __init__(self, error: LimitError) -> None:
        is_daily = error.limit == "max_gpu_s_per_day"
        until_midnight_s = SECONDS_PER_DAY - time.time() % SECONDS_PER_DAY
        super().__init__(
            429,
            f"{error.limit}: {error}",
            code=error.limit,
            retry_after_s=until_midnight_s if is_daily else 5,
            headers={"x-should-retry": "false"},
        )


def choose_size(size: str | None, width: int | None, height: int | None) -> Size | None:
    """Return the size that a body gives, as `size` or as `width` and `height`.

    Raises:
        RequestError: The two differ, half of the second is missing, or the text is not a size.
    """
    if (width is None) != (height is None):
        raise RequestError("width and height come together", param="width")
    if width is None or height is None:
        return None if size is None else Size.parse(size)
    given = Size(width, height)
    if size is not None and Size.parse(size) != given:
        raise RequestError(f"size {size} and width and height {given} differ", param="size")
    return given


def choose_frames(
    card: ModelCard, seconds: str | float | None, num_frames: int | None, fps: float | None
) -> int | None:
    """Return the number of frames that a body gives, as such or as a length in seconds.

    Raises:
        RequestError: Both are given, or the model cannot make this length.
    """
    if seconds is None:
        return num_frames
    if num_frames is not None:
        raise RequestError("seconds and num_frames exclude each other", param="num_frames")
    return card.frames_for(float(seconds), fps)


def _request(asked: Mapping[str, Any]) -> Request:
    """Return the request of a body; a seed that is not given is drawn, a first frame comes later."""
    seed = secrets.randbelow(_MAX_DRAWN_SEED) if asked["seed"] is None else asked["seed"]
    return Request(**{**asked, "seed": seed, "first_frame": None})


def _complete(card: ModelCard, request: Request, *, has_first_frame: bool) -> CompleteRequest:
    """Return the request with the model's defaults, or refuse what the model cannot do."""
    param = "input_reference"
    if has_first_frame and not card.can_first_frame:
        raise UnsupportedError(card, "begin with an image", "it takes no first frame", param)
    if has_first_frame and request.is_image:
        raise UnsupportedError(card, "change an image", "it only begins clips with it", param)
    if card.needs_first_frame and not has_first_frame:
        raise UnsupportedError(card, "begin without an image", "give input_reference", param)
    return card.complete(request, has_first_frame=has_first_frame)


def _new_job(
    service: Service,
    caller: Caller,
    card: ModelCard,
    request: JobRequest,
    *,
    kind: JobKind = JobKind.VIDEO,
    deadline_at: float | None = None,
    **more: Any,
) -> NewJob:
    """Return a job with its estimate; refuse what exceeds a limit or can never be done here."""
    _check_limits(service, caller, request)
    _check_space(service)
    estimate = service.estimator.estimate(card, request)
    deadline_s = None if deadline_at is None else deadline_at - service.job_queue.now()
    _check_estimate(service, estimate, deadline_s)
    is_video = kind is JobKind.VIDEO
    return NewJob(
        kind=kind,
        owner=caller.owner,
        model=card.name,
        request=request.to_json(),
        estimate_s=estimate.seconds,
        memory_gib=estimate.memory_gib,
        num_steps=request.num_steps,
        clip_s=request.generated_s if is_video else 0.0,
        deadline_s=None if deadline_s is None else max(0.0, deadline_s),
        retain_s=service.retain_videos_s if is_video else service.retain_images_s,
        inputs=request.inputs,
        **more,
    )


def _check_limits(service: Service, caller: Caller, request: JobRequest) -> None:
    size = request.request.size
    for name, value, param in (
        ("max_pixels", size.width * size.height, "size"),
        ("max_frames", request.request.num_frames, "num_frames"),
        ("max_steps", request.num_steps, "num_inference_steps"),
    ):
        for status, limits, who in (
            (400, service.limits, "this server allows"),
            (403, caller.limits, "this key allows"),
        ):
            most = getattr(limits, name)
            if most is not None and value > most:
                what = name.removeprefix("max_")
                message = f"{value:,} {what} are too many: {who} {name} {most:,}"
                raise ApiError(status, message, code=name, param=param)


def _check_space(service: Service) -> None:
    try:
        service.check_space()
    except StorageFullError as error:
        raise ApiError(503, str(error), code="storage_full", retry_after_s=30) from None


def _check_estimate(service: Service, estimate: Estimate, deadline_s: float | None) -> None:
    """Refuse what takes too long, cannot be finished in time, or fits no worker."""
    low_s = 0.0 if estimate.is_guess else estimate.seconds / estimate.spread
    if low_s > service.limits.max_work_s:
        raise ApiError(
            400,
            f"it would take {estimate.seconds:,.0f} s: this server allows max_work_s "
            f"{service.limits.max_work_s:,.0f}",
            code="max_work_s",
        )
    if deadline_s is not None and low_s > deadline_s:
        raise ApiError(
            400,
            f"it cannot be finished by then: it takes {estimate.seconds:.3g} s",
            code="deadline_unreachable",
            param="deadline",
        )
    sizes = [worker.info.memory_gib for worker in service.estimator.workers()]
    if sizes and max(sizes) < estimate.memory_gib:
        raise ApiError(
            400,
            f"it needs {estimate.memory_gib:.3g} GiB; the largest worker has {max(sizes):.3g}",
            code="memory_gib",
            param="size",
        )


def _checked_webhook(service: Service, url: str | None) -> str | None:
    """Return the URL of a webhook; what its name resolves to is checked again when it is sent."""
    if url is None:
        return None
    try:
        host = PostTarget.of(url).host
    except ForbiddenAddressError as error:
        raise RequestError(f"webhook cannot be used: {error}", param="webhook") from None
    with contextlib.suppress(ValueError):
        if not is_public(ipaddress.ip_address(host)) and not service.allow_private_webhooks:
            raise RequestError("webhook is not a public address", param="webhook")
    return url
