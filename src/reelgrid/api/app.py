"""The ASGI application: routes, errors, middleware, OpenAPI document."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import FastAPI

from reelgrid.api import (
    content,
    control,
    errors,
    health,
    images,
    middleware,
    models,
    openapi,
    videos,
)
from reelgrid.api.middleware import RequestMiddleware
from reelgrid.api.service import Service

NUM_THREADS = 24
"""Requests that are processed at a time; the job queue has a connection for each of them."""

_SWITCH_S = 0.001
"""Switch interval of Python's threads: its own 5 ms are a long wait for the thread of the event loop."""


def create_app(service: Service) -> FastAPI:
    """Return the application of a service."""
    app = FastAPI(
        lifespan=_lifespan,
        docs_url=None,  # their pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        telemetry=None,
    )
    app.state.service = service
    app.state.readiness = health.Readiness(service)
    for routes in (videos, control, content, images, models, health):
        app.include_router(routes.router)
    errors.register(app)
    app.state.write_turns = asyncio.Semaphore(middleware.NUM_WRITERS)
    openapi.install(app, service.version)
    app.add_middleware(
        RequestMiddleware,
        max_body_bytes=service.limits.max_body_bytes,
        observe=service.metrics.observe,
    )
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    sys.setswitchinterval(_SWITCH_S)
    anyio.to_thread.current_default_thread_limiter().total_tokens = NUM_THREADS
    yield
    app.state.service.broadcaster.close()
