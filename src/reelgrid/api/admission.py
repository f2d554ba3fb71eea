"""What is refused before anything is made: caps of the server and of the key, memory, queue, disk.

400 is the server's cap, 403 the key's, 429 what the key has used up for now, 503 a full disk; each
names its limit. Not here: the key's jobs and GPU-seconds, which the desk counts in the transaction
that admits a job.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reelgrid.api.auth import Caller
from reelgrid.api.bodies import Upload
from reelgrid.api.errors import ApiError
from reelgrid.api.estimates import Estimate
from reelgrid.api.service import Service
from reelgrid.catalog import ModelCard
from reelgrid.errors import LimitError, RequestError, StorageFullError
from reelgrid.jobs.accounting import QueuePosition
from reelgrid.jobs.job import Job, JobKind, NewJob
from reelgrid.jobs.policy import Priority
from reelgrid.jobs.request import JobRequest

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A job that somebody wants, before it is admitted.

    Attributes:
        deadline_at: When it has to be finished, in seconds since 1970.
        digest: Of what the client sent.
    """

    kind: JobKind
    card: ModelCard
    order: JobRequest
    priority: Priority = Priority.NORMAL
    deadline_at: float | None = None
    webhook: str | None = None
    remixed_from: str | None = None
    extended_from: str | None = None
    idempotency_key: str | None = None
    digest: str | None = None


def check_caps(service: Service, caller: Caller, order: JobRequest) -> None:
    """Refuse a request that is too large for the server or for the key.

    Raises:
        ApiError: It names the limit.
    """
    request = order.request
    asked = {
        "max_pixels": request.size.width * request.size.height,
        "max_frames": request.num_frames or 1,
        "max_steps": order.num_steps,
    }
    for name, value in asked.items():
        _check_cap(400, name, value, getattr(service.limits, name), "this server allows")
        _check_cap(403, name, value, getattr(caller.limits, name), "this key allows")


def _check_cap(status: int, name: str, value: int, most: int | None, who: str) -> None:
    if most is not None and value > most:
        what = name.removeprefix("max_")
        raise ApiError(
            status,
            f"{value:,} {what} are too many: {who} {name} {most:,}",
            code=name,
            param=_PARAMS[name],
        )


_PARAMS = {"max_pixels": "size", "max_frames": "num_frames", "max_steps": "num_inference_steps"}


def estimate_or_refuse(service: Service, wish: Submission) -> Estimate:
    """Return what the wish would take, or refuse what can never be done here.

    Raises:
        ApiError: It takes too long, cannot be in time, fits no worker, or the disk is full.
    """
    try:
        service.check_space()
    except StorageFullError as error:
        raise ApiError(503, str(error), code="storage_full", retry_after_s=30) from None
    estimate = service.estimator.estimate(wish.card, wish.order)
    low_s = 0.0 if estimate.is_guess else estimate.seconds / estimate.spread
    limits = service.limits
    if low_s > limits.max_seconds:
        raise ApiError(
            400,
            f"it would take {estimate.seconds:,.0f} s: this server allows max_seconds "
            f"{limits.max_seconds:,.0f}",
            code="max_seconds",
        )
    if wish.deadline_at is not None and time.time() + low_s > wish.deadline_at:
        raise ApiError(
            400,
            f"it cannot be finished by then: it takes {estimate.seconds:.3g} s",
            code="deadline_unreachable",
            param="deadline",
        )
    _check_memory(service, estimate)
    return estimate


def _check_memory(service: Service, estimate: Estimate) -> None:
    sizes = [worker.info.memory_gib for worker in service.estimator.workers()]
    if sizes and max(sizes) < estimate.memory_gib:
        raise ApiError(
            400,
            f"it needs {estimate.memory_gib:.3g} GiB; the largest worker has {max(sizes):.3g}",
            code="memory_gib",
            param="size",
        )


def position_for(
    service: Service, caller: Caller, wish: Submission, estimate: Estimate
) -> QueuePosition:
    """Return the position that the job would have in the queue if it was submitted now."""
    return service.job_queue.position_if_submitted(_new_job(service, caller, wish, estimate))


def check_queue(service: Service, place: QueuePosition, most_s: float, limit: str) -> None:
    """Refuse what would wait too long.

    Raises:
        ApiError: 429, with the time after which there is room.
    """
    wait_s = place.wait_s
    if wait_s is not None and wait_s > most_s:
        raise ApiError(
            429,
            f"the queue is {wait_s:,.0f} s long, {limit} is {most_s:,.0f}: come back later",
            code=limit,
            retry_after_s=wait_s - most_s,
        )


def admit(service: Service, caller: Caller, wish: Submission, estimate: Estimate) -> Job:
    """Make the wish a job that is not lost any more, and wake a worker.

    Returns:
        The job; that of an earlier request with the same idempotency key, if there was one.

    Raises:
        KeyLimitError: The key has too many unfinished jobs, or no GPU-seconds left today.
        ConflictError: The idempotency key was used with another body.
    """
    try:
        job = service.job_queue.submit(
            _new_job(service, caller, wish, estimate), limits=caller.limits
        )
    except LimitError as error:
        raise KeyLimitError(error) from None
    with contextlib.suppress(OSError):  # an idle worker looks by itself, a little later
        service.wake()
    return job


def _new_job(service: Service, caller: Caller, wish: Submission, estimate: Estimate) -> NewJob:
    is_video = wish.kind is JobKind.VIDEO
    return NewJob(
        kind=wish.kind,
        owner=caller.owner,
        model=wish.card.name,
        request=wish.order.to_json(),
        estimate_s=estimate.seconds,
        memory_gib=estimate.memory_gib,
        num_steps=wish.order.num_steps,
        clip_s=made_s(wish.order) if is_video else 0.0,
        priority=wish.priority,
        deadline_s=None if wish.deadline_at is None else max(0.0, wish.deadline_at - time.time()),
        retain_s=service.retain_videos_s if is_video else service.retain_images_s,
        inputs=wish.order.inputs,
        idempotency_key=wish.idempotency_key,
        body_digest=wish.digest if wish.idempotency_key else None,
        remixed_from=wish.remixed_from,
        extended_from=wish.extended_from,
        webhook=wish.webhook,
    )


class KeyLimitError(ApiError):
    """A key has used up what it may have for now; sending it again at once changes nothing."""

    def __init__(self, error: LimitError) -> None:
        is_daily = error.limit == "max_gpu_s_per_day"
        until_midnight_s = 86_400 - time.time() % 86_400
        super().__init__(
            429,
            f"{error.limit}: {error}",
            code=error.limit,
            retry_after_s=until_midnight_s if is_daily else 5,
            headers={"x-should-retry": "false"},
        )


def made_s(order: JobRequest) -> float:
    """Return the seconds of video that are made; an extension's first frame is there already."""
    request = order.request
    return (request.num_frames - (order.extends is not None)) / request.fps


def digest_of(path: str, values: Mapping[str, Any]) -> str:
    """Return a digest of what a client sent, files by their content."""
    digest = hashlib.sha256(path.encode())
    digest.update(json.dumps(_plain(values), sort_keys=True).encode())
    return digest.hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, Upload):
        return {"sha256": _file_digest(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(child) for name, child in value.items()}
    if isinstance(value, list):
        return [_plain(child) for child in value]
    return value


def _file_digest(upload: Upload) -> str:
    digest = hashlib.sha256()
    upload.file.seek(0)
    while piece := upload.file.read(_CHUNK_BYTES):
        digest.update(piece)
    upload.file.seek(0)
    return digest.hexdigest()


def check_idempotency_key(key: str | None) -> None:
    """Refuse a key that no client makes.

    Raises:
        RequestError: It is empty or longer than 200 characters.
    """
    if key is not None and not 1 <= len(key) <= 200:
        raise RequestError("an idempotency key has 1 to 200 characters", param="idempotency_key")
