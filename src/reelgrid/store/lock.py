"""Who is at work on a file: a lock that the system drops when its process dies, however it dies."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reelgrid.errors import BusyError

try:
    import fcntl
except ImportError:  # Windows: nothing is ever seen as held there
    fcntl = None  # type: ignore[assignment]


@contextmanager
def lock_file(path: Path) -> Iterator[None]:
    """Hold `path` (made if missing) until the block ends or the process dies.

    Yields:
        Nothing.

    Raises:
        BusyError: Another process holds it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _try_lock(handle):
            raise BusyError(f"{path} is in use by another process: wait for it, or stop it")
        yield
    finally:
        os.close(handle)


def is_locked(path: Path) -> bool:
    """Whether a living process holds `path`."""
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _try_lock(handle)
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
