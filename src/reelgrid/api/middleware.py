"""ASGI middleware: request ids, a bound on every body, a response to every crash, write turns.

A body is refused by its announced length, or, sent without one, as soon as it has grown too long;
the rest is read and dropped, so that the client gets to see the response. A body that does not end
in time is refused.

Write turns: the database writes one transaction at a time. If the requests that wait for it held
threads, a burst of submissions would leave none for polls, which only read; so they wait in the event
loop, and hold a turn for the write alone.
"""

import asyncio
import json
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated

from fastapi import Depends, Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reelgrid.api.errors import ApiError, error_body

_log = logging.getLogger(__name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,100}")
_MAX_DROPPED_BYTES = 1 << 30

BODY_S = 300.0
"""Seconds from the first read of a body to its last byte."""

Observer = Callable[[Scope, int, float], None]
"""Called with every response: its scope, its status and the seconds until it began."""


class RequestMiddleware:
    """Wraps an application; `observe` is called with every response."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, observe: Observer) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        response = _Response(scope, send, self._observe)
        body = _Body(scope, receive, self._max_body_bytes)
        try:
            await self._app(scope, body.receive, response.send)
        except asyncio.CancelledError:  # uvicorn's way to say that it stops and waits no longer
            if not response.has_begun:
                await response.send_error(503, "the server stops: try again", "stopping", b"2")
        except ClientDisconnect:
            _log.info("the client disconnected before the end of its body: %s", response.request_id)
        except Exception:  # noqa: BLE001  # the last resort: nothing else would respond
            _log.exception("request failed", extra={"request_id": response.request_id})
            if not response.has_begun:
                await response.send_error(500, "the server failed; see its log", "internal_error")


class _Body:
    """Bounds the length of a body and the time it takes."""

    def __init__(self, scope: Scope, receive: Receive, max_bytes: int) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._num_bytes = 0
        announced = Headers(scope=scope).get("content-length", "0")
        self._announced = int(announced) if announced.isdecimal() else 0
        self._ends_s: float | None = None
        self._is_complete = False

    async def receive(self) -> Message:
        """Return the next message.

        Raises:
            ApiError: The body is too long, or does not end in time.
        """
        if self._announced > self._max_bytes:
            await self._refuse()
        message = await self._next()
        self._num_bytes += len(message.get("body", b""))
        if self._num_bytes > self._max_bytes:
            await self._refuse(more=message.get("more_body", False))
        return message

    async def _next(self) -> Message:
        if self._is_complete:  # the next message is the disconnect, whenever that is
            return await self._receive()
        loop = asyncio.get_running_loop()
        self._ends_s = self._ends_s or loop.time() + BODY_S
        try:
            async with asyncio.timeout_at(self._ends_s):
                message = await self._receive()
        except TimeoutError:
            raise ApiError(
                408,
                f"the body did not end within {BODY_S:.0f} s",
                code="body_too_slow",
                headers={"connection": "close", "x-should-retry": "false"},
            ) from None
        self._is_complete = not message.get("more_body", False)
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


class _Response:
    """Adds the request id to a response, and reports it."""

    def __init__(self, scope: Scope, send: Send, observe: Observer) -> None:
        self._scope = scope
        self._send = send
        self._observe = observe
        self._started_s = time.perf_counter()
        given = Headers(scope=scope).get("x-request-id", "")
        is_id = _REQUEST_ID.fullmatch(given)
        self.request_id = given if is_id else f"req_{secrets.token_hex(12)}"
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
            self._log_response(message["status"], took_s)
        await self._send(message)

    def _log_response(self, status: int, took_s: float) -> None:
        """Log the path without its query, which may contain a signature, and no body."""
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
"""Requests that write to the database at a time."""


async def _write_turns(request: Request) -> asyncio.Semaphore:
    turns: asyncio.Semaphore = request.app.state.write_turns
    return turns


WriteTurns = Annotated[asyncio.Semaphore, Depends(_write_turns)]
"""For a route that does other work before it writes: it enters the semaphore for the write alone."""


async def _hold_turn(turns: WriteTurns) -> AsyncIterator[None]:
    async with turns:
        yield


WRITE_TURN = [Depends(_hold_turn, scope="function")]
"""Dependencies of a route that only writes: the turn ends with the function, not with the response."""
