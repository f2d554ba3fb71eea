"""File locks: one process at a time works on a file. The system drops a lock when its process dies."""

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from reelgrid.errors import BusyError

# Locks of an open file (Linux 3.15): they can be looked at without being taken.
_HAS_FILE_LOCKS: Final = hasattr(fcntl, "F_OFD_SETLK")
_WHOLE_FILE: Final = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)  # struct flock


@contextmanager
def lock_file(path: Path) -> Iterator[None]:
    """Lock `path` (made if missing) until the block ends or the process dies.

    Raises:
        BusyError: Another process, or another block of this one, has locked it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _try_lock(handle):
            raise BusyError(f"{path} is in use by another process: wait for it, or stop it")
        yield
    finally:
        os.close(handle)


def is_locked(path: Path) -> bool:
    """Whether a living process has locked `path`; looking does not lock it (on Linux)."""
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        if not _HAS_FILE_LOCKS:
            return not _try_lock(handle)
        found = fcntl.fcntl(handle, fcntl.F_OFD_GETLK, _WHOLE_FILE)
        lock_type: int = struct.unpack("hhqqi4x", found)[0]
        return lock_type != fcntl.F_UNLCK
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        if _HAS_FILE_LOCKS:
            fcntl.fcntl(handle, fcntl.F_OFD_SETLK, _WHOLE_FILE)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
