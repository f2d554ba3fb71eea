"""Health, readiness and metrics of the server."""

import threading
import time
from collections.abc import Callable

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from reelgrid.api import openapi, schemas
from reelgrid.api.auth import CallerHere
from reelgrid.api.service import Service, ServiceHere
from reelgrid.errors import ReelgridError

router = APIRouter(tags=["operation"])
READINESS_AGE_S = 2.0
PROBE = "probe/ready.txt"
"""Name of a blob that is looked up, to see whether the store answers; it need not exist."""


class Readiness:
    """Whether the server can take work; checked at most every `READINESS_AGE_S`.

    Anybody may ask, without a key, as often as they like: so nothing is written, and callers between
    two checks share one result.

    Args:
        service: The server.
        clock: Monotonic, in seconds.
    """

    def __init__(self, service: Service, clock: Callable[[], float] = time.monotonic) -> None:
        self._service = service
        self._clock = clock
        self._lock = threading.Lock()
        self._checked: dict[str, str] = {}
        self._stale_at_s = 0.0

    def check(self) -> dict[str, str]:
        """Return `status`, and for the database, the blobs and the workers `ok` or what is wrong."""
        with self._lock:
            if not self._checked or self._clock() >= self._stale_at_s:
                self._checked = self._check()
                self._stale_at_s = self._clock() + READINESS_AGE_S
            return self._checked

    def _check(self) -> dict[str, str]:
        database, workers = self._database_and_workers()
        parts = {"database": database, "blobs": self._blobs(), "workers": workers}
        is_ready = set(parts.values()) == {"ok"}
        return {**parts, "status": "ok" if is_ready else "unavailable"}

    def _database_and_workers(self) -> tuple[str, str]:
        try:
            is_live = any(worker.is_live for worker in self._service.job_queue.workers())
        except ReelgridError:
            return "it cannot be reached", "unknown: the database cannot be reached"
        if is_live:
            return "ok", "ok"
        return "ok", "; ".join(self._service.failures()) or "no worker has reported lately"

    def _blobs(self) -> str:
        try:
            self._service.check_space()
            self._service.blobs.exists(PROBE)
        except ReelgridError as error:
            return f"no space: {error}"
        except OSError:
            return "they cannot be reached"
        return "ok"


@router.get("/health", response_model=schemas.Health)
async def health(service: ServiceHere) -> JSONResponse:
    """Say that the process answers."""
    return JSONResponse({"status": "ok", "version": service.version})


@router.get(
    "/ready",
    response_model=schemas.ReadinessResponse,
    responses={
        503: {"model": schemas.ReadinessResponse, "description": "It cannot take work now."}
    },
)
def ready(request: Request) -> JSONResponse:
    """Say whether the database and the blobs can be reached and a worker is alive."""
    readiness: Readiness = request.app.state.readiness
    found = readiness.check()
    return JSONResponse(found, 200 if found["status"] == "ok" else 503)


@router.get("/metrics", **openapi.stream("Prometheus' text format.", "text/plain"))
def metrics(service: ServiceHere, caller: CallerHere) -> Response:
    """Return all metrics; any key may read them."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)
