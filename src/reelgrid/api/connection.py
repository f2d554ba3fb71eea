"""One connection: it is closed when the head of a request has begun and does not come to its end.

uvicorn waits for it forever, and a few thousand such connections would take all descriptors. Its
parser in Python (h11) is chosen on purpose: it bounds the length of a head, which the one in C does
not. Not here: bodies that do not come to their end (`middleware`).
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 20.0
"""From the connection, or from the first byte of a later request, to the last byte of the head."""

MAX_HEAD_BYTES = 64 * 1024


class Connection(H11Protocol):
    """Speaks HTTP/1.1 with one client that has to be heard in time."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEAD_S, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        """Take some bytes; a head that has only begun has to be whole in time."""
        super().data_received(data)
        is_begun = self.conn.their_state is h11.IDLE
        if not is_begun:
            self._forget()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._forget()
        super().connection_lost(exc)

    def _forget(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
