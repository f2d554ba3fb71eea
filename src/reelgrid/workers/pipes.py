"""The two pipes between a supervisor and a worker process: its stdin and its stdout.

Down the first pipe the supervisor sends one line of JSON that says which worker the process is, and
later one byte each time there may be work. When the supervisor ends, however it dies, that pipe
closes. Up the second pipe the worker sends signs of life; when the worker ends, that one closes.
Pipes do so on every POSIX system.
"""

import os
import selectors
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

WAKE = b"w"
ALIVE = b"."
READY = b"r"
ALIVE_EVERY_S = 1.0

_FAILURE = b"!"
_CHUNK_BYTES = 4096


class ParentPipe:
    """The worker's end of the pipe that its supervisor writes to.

    Args:
        pipe: File descriptor to read from.
    """

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def read_message(self) -> bytes | None:
        """Return the first line, without a byte of what follows; `None` if the pipe closes first."""
        line = bytearray()
        while not line.endswith(b"\n"):
            byte = os.read(self._pipe, 1)
            if not byte:
                return None
            line += byte
        return bytes(line)

    def watch(self, on_wake: Callable[[], None], on_close: Callable[[], None]) -> None:
        """Read on a thread from now on.

        Args:
            on_wake: Called when the supervisor says that there may be work.
            on_close: Called once, when the supervisor is gone.
        """
        threading.Thread(
            target=self._watch, args=(on_wake, on_close), name="parent-pipe", daemon=True
        ).start()

    def _watch(self, on_wake: Callable[[], None], on_close: Callable[[], None]) -> None:
        while os.read(self._pipe, _CHUNK_BYTES):
            on_wake()
        on_close()


class LivenessPipe:
    """The worker's end of the other pipe: a thread sends signs of life while the worker makes progress.

    Args:
        pipe: File descriptor to write to; `None` for a worker without a supervisor.
        is_alive: Whether the work makes progress; without that no sign is sent.
    """

    def __init__(self, pipe: int | None, is_alive: Callable[[], bool]) -> None:
        self._pipe = pipe
        self._is_alive = is_alive
        self._sign = ALIVE
        self._has_ended = threading.Event()
        if pipe is not None:
            os.set_blocking(pipe, False)
            threading.Thread(target=self._run, name="liveness", daemon=True).start()

    def ready(self) -> None:
        """Say that the worker can take work, now and with every sign: this one may find a full pipe."""
        self._sign = READY
        self._send(READY)

    def failure(self, reason: str) -> None:
        """Say in one line why the worker could not start."""
        self._send(_FAILURE + " ".join(reason.split()).encode()[: _CHUNK_BYTES - 2] + b"\n")

    def close(self) -> None:
        """Send no more signs."""
        self._has_ended.set()

    def _run(self) -> None:
        while not self._has_ended.wait(ALIVE_EVERY_S):
            if self._is_alive():
                self._send(self._sign)

    def _send(self, sign: bytes) -> None:
        if self._pipe is not None:
            with suppress(BlockingIOError, BrokenPipeError):
                os.write(self._pipe, sign)


def take_pipes() -> tuple[int, int]:
    """Return this process's pipes from and to its supervisor, moved away from stdin and stdout.

    From then on stdin is empty, and what libraries print to stdout goes to stderr.
    """
    pipes = os.dup(0), os.dup(1)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    return pipes


class LivenessReader:
    """The supervisor's end of a worker's liveness pipe.

    Args:
        pipe: File descriptor to read from.

    Attributes:
        is_ready: Whether the worker has said that it can take work.
        failure: Why it could not start, if it said so.
    """

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._selector = selectors.DefaultSelector()  # `select` stops at 1,024 open files
        self._selector.register(pipe, selectors.EVENT_READ)
        self._rest = b""
        self.is_ready = False
        self.failure: str | None = None

    def wait(self, at_most_s: float) -> str:
        """Return `sign`, `quiet` when none came in that time, or `end` when none will come."""
        if not self._selector.select(at_most_s):
            return "quiet"
        received = os.read(self._pipe, _CHUNK_BYTES)
        if not received:
            return "end"
        self._parse(received)
        return "sign"

    def close(self) -> None:
        """Stop reading; the pipe itself is its owner's to close."""
        self._selector.close()

    def _parse(self, received: bytes) -> None:
        signs, mark, reason = (self._rest + received).partition(_FAILURE)
        self._rest = mark + reason
        self.is_ready = self.is_ready or READY in signs
        if reason.endswith(b"\n"):
            self.failure = reason.decode(errors="replace").strip()
            self._rest = b""


class WorkerProcess:
    """A worker process, with the supervisor's ends of both its pipes.

    Args:
        program: Its command line.

    Attributes:
        liveness: What it has said about itself.

    Raises:
        OSError: It cannot be started: no memory or no process is left for it.
    """

    def __init__(self, program: Sequence[str]) -> None:
        self.process = subprocess.Popen(  # noqa: S603  # the command is ours
            program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C in the terminal is for the supervisor to pass on
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._stdin, self._stdout = self.process.stdin, self.process.stdout
        os.set_blocking(self._stdin.fileno(), False)
        self.liveness = LivenessReader(self._stdout.fileno())

    def send(self, message: bytes) -> bool:
        """Write to the process without waiting; whether the pipe took all of it."""
        with suppress(BlockingIOError, BrokenPipeError):
            return os.write(self._stdin.fileno(), message) == len(message)
        return False

    def close(self) -> None:
        """Close both pipes: a process that still runs shuts down then."""
        self.liveness.close()
        self._stdin.close()
        self._stdout.close()

    def kill(self) -> None:
        """Kill the process, wait until it is gone, and close its pipes."""
        self.process.kill()
        self.process.wait()
        self.close()
