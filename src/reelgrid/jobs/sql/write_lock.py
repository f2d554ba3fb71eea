"""Write lock: a fair cross-process lock in front of SQLite's single writer.

SQLite polls its lock every 100 ms, which starves writers under load. This one polls at least every 2 ms,
and before that the threads of a process take turns. The system drops the lock of a dead process. It is
about fairness only: safety is SQLite's own lock, and a process without this one still works, but may
wait longer.
"""

import fcntl
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_POLL_EVERY_S = 0.002


class WriteLock:
    """Lets one transaction at a time through, of all processes that use the same lock file.

    Args:
        path: The lock file, made if missing. Where it cannot be made, the lock is always free.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._threads = threading.Lock()
        self._file: int | None = None

    @contextmanager
    def hold(self, timeout_s: float) -> Iterator[None]:
        """Wait for the lock, and hold it for the length of the block.

        Raises:
            TimeoutError: It was not free within the timeout.
        """
        give_up_s = time.monotonic() + timeout_s
        if not self._threads.acquire(timeout=timeout_s):
            raise TimeoutError(f"{self._path} was not free in {timeout_s} s")
        try:
            self._lock(give_up_s)
            try:
                yield
            finally:
                self._unlock()
        finally:
            self._threads.release()

    def close(self) -> None:
        """Close the lock file, which drops the lock."""
        with self._threads:
            if self._file is not None:
                os.close(self._file)
            self._file = None

    def _lock(self, give_up_s: float) -> None:
        if self._file is None:
            self._file = _open(self._path)
        while self._file is not None and not self._try(self._file):
            if time.monotonic() > give_up_s:
                raise TimeoutError(f"{self._path} was not free in time")
            time.sleep(random.uniform(0.2, 1.0) * _POLL_EVERY_S)  # noqa: S311  # no secret

    def _try(self, file: int) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # this file system has no locks: continue without
            return True
        return True

    def _unlock(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_UN)


def _open(path: Path) -> int | None:
    try:
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except OSError:
        return None
