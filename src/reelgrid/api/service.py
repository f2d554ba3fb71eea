"""What all routes share: the parts of the server, its limits, the models it serves, a caller's jobs."""

import contextlib
import difflib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import JSONResponse

from reelgrid.api.auth import Authenticator, Caller, LinkSigner
from reelgrid.api.errors import ApiError
from reelgrid.api.estimates import Estimator
from reelgrid.api.events import JobBroadcaster
from reelgrid.api.metrics import ServerMetrics
from reelgrid.api.responses import current_job_json, poll_after_ms
from reelgrid.catalog import ModelCard
from reelgrid.errors import NotFoundError, ReelgridError
from reelgrid.jobs.job import Job, JobKind, Phase
from reelgrid.jobs.queue import JobQueue
from reelgrid.store.blobs import Blobs

JOB_ID = {kind: re.compile(rf"{kind}_[0-9a-f]{{24}}") for kind in JobKind}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """Limits of one request with any key; a key may have lower ones of its own.

    Attributes:
        max_pixels: Width times height of one frame.
        max_frames: Frames of one clip.
        max_steps: Denoising steps of one request, all its images together.
        max_work_s: Seconds of work that one request may be estimated to take.
        max_queue_s: Seconds that a request may be estimated to wait.
        max_image_wait_s: Likewise for images, whose client holds a connection open.
        max_body_bytes: Of one request.
        max_listeners: Event streams at a time.
    """

    max_pixels: int = 1920 * 1088
    max_frames: int = 1_000
    max_steps: int = 1_000
    max_work_s: float = 86_400.0
    max_queue_s: float = 86_400.0
    max_image_wait_s: float = 300.0
    max_body_bytes: int = 32 * 2**20
    max_listeners: int = 1_000

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not 0 < value < math.inf:
                raise ValueError(f"{each.name} is {value}: a limit is above zero")


@dataclass(frozen=True, slots=True)
class ServedModels:
    """The models that this server offers, the default first."""

    cards: tuple[ModelCard, ...]

    def __post_init__(self) -> None:
        assert self.cards

    def find(self, name: str | None, *, kind: str | None = None) -> ModelCard:
        """Return the model of a name or hub id; without a name the first that makes this kind.

        Raises:
            ApiError: There is no such model here.
        """
        if name is None:
            card = next((each for each in self.cards if kind in {None, *each.output_kinds}), None)
            if card is None:
                raise ApiError(400, f"no model here makes a {kind}", code="unsupported_capability")
            return card
        wanted = name.lower()
        for card in self.cards:
            if wanted in {card.name.lower(), (card.repository or "").lower()}:
                return card
        names = [card.name for card in self.cards]
        near = difflib.get_close_matches(wanted, names, 3)
        hint = f"nearest: {', '.join(near)}" if near else f"there are: {', '.join(names)}"
        raise ApiError(
            404,
            f"there is no model {name[:80]!r} here; {hint}",
            code="model_not_found",
            param="model",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The parts of the server, made once when it starts.

    Attributes:
        wake: Tells idle workers that there may be work.
        failures: Returns why workers do not start, one sentence each.
        check_space: Raises `StorageFullError` while there is no space for new work.
        usd_per_gpu_h: Price of an hour of a worker, for estimates.
        retain_videos_s: Files of a video expire this many seconds after its end; `None` is never.
        retain_images_s: Likewise for images.
        allow_private_webhooks: Whether webhooks may go to addresses that are not public.
    """

    job_queue: JobQueue
    blobs: Blobs
    models: ServedModels
    authenticator: Authenticator
    limits: ServerLimits
    estimator: Estimator
    broadcaster: JobBroadcaster
    metrics: ServerMetrics
    link_signer: LinkSigner
    version: str
    wake: Callable[[], None] = lambda: None
    failures: Callable[[], tuple[str, ...]] = lambda: ()
    check_space: Callable[[], None] = lambda: None
    usd_per_gpu_h: float | None = None
    retain_videos_s: float | None = None
    retain_images_s: float | None = None
    allow_private_webhooks: bool = False

    def own_job(self, caller: Caller, job_id: str, kind: JobKind = JobKind.VIDEO) -> Job:
        """Return a job of the caller.

        Raises:
            NotFoundError: There is no such job of this kind, or it belongs to another key.
        """
        if not JOB_ID[kind].fullmatch(job_id):
            raise NotFoundError(f"there is no {kind} {job_id[:80]!r}", param="id")
        try:
            return self.job_queue.get(job_id, owner=caller.owner)
        except NotFoundError:
            raise NotFoundError(f"there is no {kind} {job_id!r}", param="id") from None

    def own_completed(self, caller: Caller, job_id: str, kind: JobKind = JobKind.VIDEO) -> Job:
        """Return a job of the caller that has its files.

        Raises:
            NotFoundError: There is no such job of this kind.
            ApiError: It is not completed, or its files have expired.
        """
        job = self.own_job(caller, job_id, kind)
        if job.phase is not Phase.COMPLETED:
            message = f"{job.id} is {job.status}, not completed"
            raise ApiError(400, message, code=f"{kind}_not_completed")
        if not job.files:
            raise ApiError(404, f"the files of {job.id} have expired", code="expired")
        return job

    def job_json(self, job: Job) -> dict[str, Any]:
        """Return the JSON of a job as it stands now."""
        return current_job_json(job, self.job_queue, self.estimator)

    def job_response(self, job: Job) -> JSONResponse:
        """Return a job as the response, with how long the client should wait before it polls."""
        body = self.job_json(job)
        return JSONResponse(body, headers={"openai-poll-after-ms": str(poll_after_ms(body))})

    def remove_blobs(self, job: Job) -> None:
        """Remove the blobs of a job that no other job needs."""
        names = {*job.files.values(), *job.inputs, *(each.blob for each in job.checkpoints)}
        names |= {job.preview} if job.preview else set()
        with contextlib.suppress(ReelgridError, OSError):  # maintenance finds what is left
            self.remove_unneeded(*(names - self.job_queue.blob_names()))

    def remove_unneeded(self, *names: str) -> None:
        """Remove blobs that no job names; those that cannot be removed now are left to maintenance."""
        for name in names:
            with contextlib.suppress(ReelgridError, OSError):
                self.blobs.delete(name)


async def _service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceHere = Annotated[Service, Depends(_service_of)]
