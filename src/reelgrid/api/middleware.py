"""The outermost layer: a name for every request, a bound on every body, an answer to every crash.

A body is refused by its announced length, or, sent without one, as soon as it has grown too long;
what is left of it is read and dropped, so that the client gets to see the answer. A body that does
not come to its end is given up. Not here: whether the request makes sense.

Requests that write take turns before they take a thread.

The database writes one after the other. Were those that wait for it to sit on threads, a burst of
submissions would leave none for the polls, which only read.
"""

import asyncio
import json
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable

from fastapi import Depends, FastAPI, Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reelgrid.api.bodies import BodyValues
from reelgrid.api.errors import ApiError, error_body

_log = logging.getLogger(__name__)

_OUR_KIND_OF_ID = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_MAX_DROPPED_BYTES = 1 << 30

BODY_S = 300.0
"""From the first question for a body to its last byte."""

Observer = Callable[[Scope, int, float], None]
"""Is told of every answer: its scope, status, and the seconds it took to begin."""


class RequestMiddleware:
    """Wraps an application; `observe` hears of every answer."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, observe: Observer) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(scope, send, self._observe)
        body = _Body(scope, receive, self._max_body_bytes)
        try:
            await self._app(scope, body.receive, answer.send)
        except asyncio.CancelledError:  # uvicorn's way to say that it stops and waits no longer
            if not answer.has_begun:
                await answer.send_error(503, "the server stops: try again", "stopping", b"2")
        except ClientDisconnect:
            _log.info("the client went before its body was whole: %s", answer.request_id)
        except Exception:  # noqa: BLE001  # the last line of defence: nothing else would answer
            _log.exception("request failed", extra={"request_id": answer.request_id})
            if not answer.has_begun:
                await answer.send_error(500, "the server failed; see its log", "internal_error")


class _Body:
    """Counts what comes in."""

    def __init__(self, scope: Scope, receive: Receive, max_bytes: int) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._num_bytes = 0
        announced = Headers(scope=scope).get("content-length", "0")
        self._announced = int(announced) if announced.isdecimal() else 0
        self._ends_s: float | None = None
        self._is_whole = False

    async def receive(self) -> Message:
        """Return the next message.

        Raises:
            ApiError: The body is too long, or does not come to its end.
        """
        if self._announced > self._max_bytes:
            await self._refuse()
        message = await self._next()
        self._num_bytes += len(message.get("body", b""))
        if self._num_bytes > self._max_bytes:
            await self._refuse(more=message.get("more_body", False))
        return message

    async def _next(self) -> Message:
        if self._is_whole:  # what comes now is that the client goes, whenever that is
            return await self._receive()
        loop = asyncio.get_running_loop()
        self._ends_s = self._ends_s or loop.time() + BODY_S
        try:
            async with asyncio.timeout_at(self._ends_s):
                message = await self._receive()
        except TimeoutError:
            raise ApiError(
                408,
                f"the body did not come to its end within {BODY_S:.0f} s",
                code="body_too_slow",
                headers={"connection": "close", "x-should-retry": "false"},
            ) from None
        self._is_whole = not message.get("more_body", False)
        return message

    async def _refuse(self, *, more: bool = True) -> None:
        while more and self._num_bytes < _MAX_DROPPED_BYTES:
            message = await self._next()
            self._num_bytes += len(message.get("body", b""))
            more = message["type"] == "http.request" and message.get("more_body", False)
        self._announced = 0
        limit_mib = self._max_bytes / 2**20
        raise ApiError(
            413,
            f"the body is too large: max_body_bytes allows {limit_mib:.3g} MiB",
            code="max_body_bytes",
        )


class _Answer:
    """Puts the request's name on what goes out, and reports it."""

    def __init__(self, scope: Scope, send: Send, observe: Observer) -> None:
        self._scope = scope
        self._send = send
        self._observe = observe
        self._started_s = time.perf_counter()
        given = Headers(scope=scope).get("x-request-id", "")
        is_ours = _OUR_KIND_OF_ID.fullmatch(given)
        self.request_id = given if is_ours else f"req_{secrets.token_hex(12)}"
        self.has_begun = False
        scope["reelgrid.request_id"] = self.request_id

    async def send(self, message: Message) -> None:
        """Send a message on."""
        if message["type"] == "http.response.start":
            self.has_begun = True
            headers = MutableHeaders(raw=message["headers"])
            headers["x-request-id"] = self.request_id
            headers.setdefault("x-content-type-options", "nosniff")
            took_s = time.perf_counter() - self._started_s
            self._observe(self._scope, message["status"], took_s)
            self._note(message["status"], took_s)
        await self._send(message)

    def _note(self, status: int, took_s: float) -> None:
        """Log the answer: the path without its query, which may hold a signature, and no body."""
        _log.info(
            "%s %s: %d in %.1f ms, %s",
            self._scope["method"],
            self._scope["path"][:200],
            status,
            1e3 * took_s,
            self.request_id,
            extra={"request_id": self.request_id, "status": status},
        )

    async def send_error(
        self, status: int, message: str, code: str, retry_after_s: bytes | None = None
    ) -> None:
        """Send an error object; the connection ends with it."""
        body = json.dumps(error_body(status, message, code)).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        if retry_after_s is not None:
            headers.append((b"retry-after", retry_after_s))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


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


WRITE_TURN = [Depends(_take, scope="function")]
"""Dependencies of a route that writes: its turn ends with the function, not with the answer."""

WRITE_TURN_AFTER_BODY = [Depends(_take_after_body, scope="function")]
"""Those of a route that reads a body as well."""
