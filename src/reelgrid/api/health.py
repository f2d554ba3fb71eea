"""Whether the process lives, whether it can take work, and its figures."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from reelgrid.api import openapi, schemas
from reelgrid.api.auth import CallerHere
from reelgrid.api.service import Service, ServiceHere
from reelgrid.errors import ReelgridError

router = APIRouter(tags=["operation"])
PROBE = "probe/ready.txt"
"""Blob that is written and removed to see whether blobs can be."""


@router.get("/health", response_model=schemas.Health)
async def health(service: ServiceHere) -> JSONResponse:
    """Say that the process answers."""
    return JSONResponse({"status": "ok", "version": service.version})


@router.get(
    "/ready",
    response_model=schemas.Readiness,
    responses={503: {"model": schemas.Readiness, "description": "It cannot take work now."}},
)
def ready(service: ServiceHere) -> JSONResponse:
    """Say whether the database and the blobs can be used and a worker lives."""
    checks = {"database": _database, "blobs": _blobs, "workers": _workers}
    with ThreadPoolExecutor(len(checks)) as pool:
        said = {name: pool.submit(check, service) for name, check in checks.items()}
        words: dict[str, Any] = {name: each.result() for name, each in said.items()}
    is_ready = set(words.values()) == {"ok"}
    words["status"] = "ok" if is_ready else "unavailable"
    return JSONResponse(words, 200 if is_ready else 503)


@router.get("/metrics", **openapi.stream("Prometheus' text format.", "text/plain"))
def metrics(service: ServiceHere, caller: CallerHere) -> Response:
    """Return all figures; keys that may ask for videos may read them."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)


def _database(service: Service) -> str:
    try:
        service.job_queue.check_readable()
    except ReelgridError:
        return "it cannot be reached or written"
    return "ok"


def _blobs(service: Service) -> str:
    try:
        service.check_space()
        service.blobs.put(PROBE, b"ready")
        service.blobs.delete(PROBE)
    except ReelgridError as error:
        return f"no room: {error}"
    except OSError:
        return "they cannot be written"
    return "ok"


def _workers(service: Service) -> str:
    try:
        is_live = any(worker.is_live for worker in service.job_queue.workers())
    except ReelgridError:
        return "unknown: the database cannot be reached"
    if is_live:
        return "ok"
    return "; ".join(service.failures()) or "none has been heard of lately"
