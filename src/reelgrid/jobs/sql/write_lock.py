"""A queue of processes before the one writer that an SQLite file can have.

SQLite lets whoever finds the file taken sleep for up to 100 ms between two looks, and the luckiest
goes first: under load some wait for seconds. Here one thread of a process at a time goes through a
second, empty file's advisory lock, looking again every 2 ms at the latest, and before that the threads wait for
each other. The lock goes with the process that holds it, however that ends. It keeps nothing safe:
that is SQLite's own lock, and a process without this one is merely less lucky.
"""

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

_LOOK_EVERY_S = 0.002


class Turnstile:
    """Lets one transaction at a time through, of all that ask for the same file.

    Args:
        path: The file of the queue; made if need be. Where none can be made, nobody waits.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = threading.Lock()
        self._file: int | None = None

    @contextmanager
    def passing(self, patience_s: float) -> Iterator[None]:
        """Wait for the turn, and have it for the length of the block.

        Raises:
            TimeoutError: The turn did not come within the patience.
        """
        give_up_s = time.monotonic() + patience_s
        if not self._threads.acquire(timeout=patience_s):
            raise TimeoutError(f"no turn at {self._path} in {patience_s} s")
        try:
            self._lock(give_up_s)
            try:
                yield
            finally:
                self._unlock()
        finally:
            self._threads.release()

    def close(self) -> None:
        """Close the file, which ends a turn that is had."""
        with self._threads:
            if self._file is not None:
                os.close(self._file)
            self._file = None

    def _lock(self, give_up_s: float) -> None:
        if self._file is None:
            self._file = _open(self._path)
        while self._file is not None and not self._try():
            if time.monotonic() > give_up_s:
                raise TimeoutError(f"no turn at {self._path}")
            time.sleep(random.uniform(0.2, 1.0) * _LOOK_EVERY_S)  # noqa: S311  # no secret

    def _try(self) -> bool:
        assert self._file is not None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # no such thing on this file system: go on without
            return True
        return True

    def _unlock(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_UN)


def _open(path: Path) -> int | None:
    if fcntl is None:
        return None
    try:
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except OSError:
        return None
