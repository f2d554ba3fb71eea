"""What all routes share, made once when the server starts."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from reelgrid.api.auth import Door
from reelgrid.api.cards import Offer
from reelgrid.api.estimates import Estimator
from reelgrid.api.events import Hub
from reelgrid.api.limits import ServerLimits
from reelgrid.api.links import Links
from reelgrid.api.metrics import Meter
from reelgrid.jobs.desk import Desk
from reelgrid.store.blobs import Blobs


def _nothing() -> None:
    return None


def _no_failures() -> tuple[str, ...]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The server's parts.

    Attributes:
        desk: The jobs.
        blobs: Their files.
        offer: The models.
        door: Who may come in.
        limits: What one request may ask.
        estimator: What it would take.
        hub: Tells listeners of changes.
        meter: Counts what the desk does not.
        links: Addresses of images that need no key.
        version: Of Reelgrid.
        wake: Tells workers that there may be work.
        failures: What keeps workers from starting, in words.
        check_room: Raises FullError while there is no room for new work.
        usd_per_gpu_h: What an hour of a worker is charged with; none is not said.
        retain_videos_s: Files of videos go this long after they are finished; none is never.
        retain_images_s: Those of images.
        webhooks_to_private: Whether webhooks may go to addresses that are not public.
    """

    desk: Desk
    blobs: Blobs
    offer: Offer
    door: Door
    limits: ServerLimits
    estimator: Estimator
    hub: Hub
    meter: Meter
    links: Links
    version: str
    wake: Callable[[], None] = field(default=_nothing)
    failures: Callable[[], tuple[str, ...]] = field(default=_no_failures)
    check_room: Callable[[], None] = field(default=_nothing)
    usd_per_gpu_h: float | None = None
    retain_videos_s: float | None = None
    retain_images_s: float | None = None
    webhooks_to_private: bool = False


async def _service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


ServiceHere = Annotated[Service, Depends(_service_of)]
