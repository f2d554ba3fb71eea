"""The two pipes between a supervisor and a worker: each learns of the other's end from the system.

Down the lifeline the supervisor wakes a waiting worker; when it ends, however it dies, the pipe
closes and the worker leaves. Up the other pipe the worker shows that it lives; when it ends, that
one closes. Pipes do so on every Unix. Not here: what either side does about it.
"""

import os
import selectors
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

WAKE = b"w"
ALIVE = b"."
READY = b"r"
SIGN_EVERY_S = 1.0

_FAILURE = b"!"
_CHUNK_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Ends:
    """The worker's ends of both pipes, as file descriptors."""

    lifeline: int
    signs: int


class ParentWatch:
    """A thread at the worker's end of the lifeline.

    Args:
        lifeline: File descriptor to read.
        on_wake: Is called when the supervisor says that there may be work.
        on_end: Is called once, when the supervisor is gone.
    """

    def __init__(
        self, lifeline: int, on_wake: Callable[[], None], on_end: Callable[[], None]
    ) -> None:
        os.set_inheritable(lifeline, False)
        self._lifeline = lifeline
        self._on_wake = on_wake
        self._on_end = on_end
        threading.Thread(target=self._watch, name="lifeline", daemon=True).start()

    def _watch(self) -> None:
        while os.read(self._lifeline, _CHUNK_BYTES):
            self._on_wake()
        self._on_end()


class Signs:
    """The worker's end of the other pipe: signs of life from a thread, for as long as it is well.

    Args:
        signs: File descriptor to write; none where nobody looks.
    """

    def __init__(self, signs: int | None) -> None:
        self._signs = signs
        self._is_well: Callable[[], bool] = lambda: True
        self._sign = ALIVE
        self._has_ended = threading.Event()
        if signs is not None:
            os.set_inheritable(signs, False)
            os.set_blocking(signs, False)
            threading.Thread(target=self._go_on, name="signs", daemon=True).start()

    def depend_on(self, is_well: Callable[[], bool]) -> None:
        """Give no sign from here on while `is_well` says that the work does not go on."""
        self._is_well = is_well

    def ready(self) -> None:
        """Say that it can take work, now and with every sign: one alone might find the pipe full."""
        self._sign = READY
        self._say(READY)

    def failure(self, reason: str) -> None:
        """Say why it could not begin, in one line."""
        self._say(_FAILURE + " ".join(reason.split()).encode()[: _CHUNK_BYTES - 2] + b"\n")

    def close(self) -> None:
        """Give no more signs."""
        self._has_ended.set()

    def _go_on(self) -> None:
        while not self._has_ended.wait(SIGN_EVERY_S):
            if self._is_well():
                self._say(self._sign)

    def _say(self, sign: bytes) -> None:
        if self._signs is None:
            return
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self._signs, sign)


class SignsRead:
    """The supervisor's end of a worker's signs.

    Attributes:
        is_ready: Whether the worker has said that it can take work.
        failure: Why it could not begin, if it said so.
    """

    def __init__(self, signs: int) -> None:
        self._signs = signs
        self._selector = selectors.DefaultSelector()  # `select` stops at 1,024 open files
        self._selector.register(signs, selectors.EVENT_READ)
        self._rest = b""
        self.is_ready = False
        self.failure: str | None = None

    def wait(self, at_most_s: float) -> str:
        """Return `sign`, `quiet` when none came in that time, or `end` when none will come."""
        if not self._selector.select(at_most_s):
            return "quiet"
        said = os.read(self._signs, _CHUNK_BYTES)
        if not said:
            return "end"
        self._take(said)
        return "sign"

    def close(self) -> None:
        """Close the pipe."""
        self._selector.close()
        os.close(self._signs)

    def _take(self, said: bytes) -> None:
        signs, mark, reason = (self._rest + said).partition(_FAILURE)
        self._rest = mark + reason
        self.is_ready = self.is_ready or READY in signs
        if reason.endswith(b"\n"):
            self.failure = reason.decode(errors="replace").strip()
            self._rest = b""
