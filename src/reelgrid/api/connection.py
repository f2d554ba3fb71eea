"""HTTP connections with a time limit for the head of a request (against slow-loris attacks).

uvicorn waits for a head forever, and a few thousand such connections would take all descriptors. Its
parser in Python (h11) is chosen on purpose: it bounds the length of a head, the parser in C does not.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 20.0
"""Seconds from the connection, or the first byte of a later request, to the last byte of the head."""

MAX_HEAD_BYTES = 64 * 1024


class Connection(H11Protocol):
    """An HTTP/1.1 connection that is closed when the head of a request takes too long."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time limit of the first head."""
        super().connection_made(transport)
        self._deadline = self.loop.call_later(HEAD_S, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        """Parse some bytes; start or stop the time limit."""
        super().data_received(data)
        is_begun = self.conn.their_state is h11.IDLE
        if not is_begun:
            self._stop_timer()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_S, self.transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the time limit."""
        self._stop_timer()
        super().connection_lost(exc)

    def _stop_timer(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
