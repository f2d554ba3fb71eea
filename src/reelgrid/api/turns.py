"""Requests that write take turns before they take a thread.

The database writes one after the other. Were those that wait for it to sit on threads, a burst of
submissions would leave none for the polls, which only read.
"""

import asyncio
from collections.abc import AsyncIterator

from fastapi import Depends, FastAPI, Request

from reelgrid.api.bodies import BodyValues

NUM_WRITERS = 4


def install(app: FastAPI) -> None:
    """Give the application its turns."""
    app.state.turns = asyncio.Semaphore(NUM_WRITERS)


async def _take(request: Request) -> AsyncIterator[None]:
    async with request.app.state.turns:
        yield


async def _take_after_body(request: Request, _: BodyValues) -> AsyncIterator[None]:
    """Take a turn when the body is there: whoever sends slowly holds up nobody."""
    async with request.app.state.turns:
        yield


TAKEN = [Depends(_take, scope="function")]
"""Dependencies of a route that writes: its turn ends with the function, not with the answer."""

TAKEN_AFTER_BODY = [Depends(_take_after_body, scope="function")]
"""Those of a route that reads a body as well."""
