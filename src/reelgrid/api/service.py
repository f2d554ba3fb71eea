"""What all routes share, made once when the server starts.

What one request may ask of this server, whoever asks.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Annotated

from fastapi import Depends, Request

from reelgrid.api.auth import Authenticator, LinkSigner
from reelgrid.api.estimates import Estimator
from reelgrid.api.events import JobBroadcaster
from reelgrid.api.metrics import ServerMetrics
from reelgrid.api.registry import ServedModels
from reelgrid.jobs.queue import JobQueue
from reelgrid.store.blobs import Blobs


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """Caps of the server; a key may have lower ones of its own.

    Attributes:
        max_pixels: Width times height of one frame.
        max_frames: Frames of one clip.
        max_steps: Denoising steps of one request, all its images together.
        max_seconds: Seconds of work that one request may be estimated to take.
        max_queue_s: Seconds that a request may be estimated to wait.
        max_image_wait_s: Likewise for images, whose client holds a connection open.
        max_body_bytes: Of one request.
        max_listeners: Event streams at a time.
    """

    max_pixels: int = 1920 * 1088
    max_frames: int = 1_000
    max_steps: int = 1_000
    max_seconds: float = 86_400.0
    max_queue_s: float = 86_400.0
    max_image_wait_s: float = 300.0
    max_body_bytes: int = 32 * 2**20
    max_listeners: int = 1_000

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not 0 < value < math.inf:
                raise ValueError(f"{each.name} is {value}: a limit is above zero")


def _nothing() -> None:
    return None


def _no_failures() -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The server's parts.

    Attributes:
        job_queue: The jobs.
        blobs: Their files.
        models: The models.
        authenticator: Who may come in.
        limits: What one request may ask.
        estimator: What it would take.
        broadcaster: Tells listeners of changes.
        metrics: Counts what the desk does not.
        link_signer: Addresses of images that need no key.
        version: Of Reelgrid.
        wake: Tells workers that there may be work.
        failures: What keeps workers from starting, in words.
        check_space: Raises FullError while there is no room for new work.
        usd_per_gpu_h: What an hour of a worker is charged with; none is not said.
        retain_videos_s: Files of videos go this long after they are finished; none is never.
        retain_images_s: Those of images.
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
    wake: Callable[[], None] = field(default=_nothing)
    failures: Callable[[], tuple[str, ...]] = field(default=_no_failures)
    check_space: Callable[[], None] = field(default=_nothing)
    usd_per_gpu_h: float | None = None
    retain_videos_s: float | None = None
    retain_images_s: float | None = None
    allow_private_webhooks: bool = False


async def _service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceHere = Annotated[Service, Depends(_service_of)]
