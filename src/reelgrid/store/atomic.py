"""Atomic writes: a file or a folder appears under its name complete and on disk, or not at all."""

import ctypes
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_HERE: Final = -100  # AT_FDCWD of fcntl.h
_EXCHANGE: Final = 2  # RENAME_EXCHANGE of linux/fs.h


@contextmanager
def atomic_write(path: Path, *, mode: int = 0o666) -> Iterator[Path]:
    """Yield a temporary name beside `path` with its suffix; what is written there becomes `path`.

    The file is on disk before it takes the name; on any error, the temporary file is removed and
    whatever had the name before is untouched.

    Args:
        path: The name it takes in the end.
        mode: Permissions, less those that the user's umask takes away; the system applies it when
            the file is made, because reading the umask means changing it for every thread.

    Yields:
        The name to write to.
    """
    temporary = _temporary_name(path.parent, path.suffix)
    os.close(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode))
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


@contextmanager
def atomic_write_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; its files become `path`, replacing what was there."""
    temporary = _temporary_name(path.parent)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.iterdir():
            sync(file)
        _replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync(path.parent)


def _temporary_name(folder: Path, suffix: str = "") -> Path:
    """Return a hidden name in `folder` that nothing has."""
    return folder / f".{secrets.token_hex(8)}{suffix}"


def _replace_folder(new: Path, path: Path) -> None:
    """Give `path` to a new folder; where the system cannot swap two names, in two steps."""
    if not path.exists():
        new.rename(path)
    elif not _exchange(new, path):
        old = _temporary_name(path.parent)
        path.rename(old)
        new.rename(path)
        shutil.rmtree(old)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two names in one step; false where the system or the file system cannot (renameat2(2))."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)  # Linux, glibc 2.28
    if renameat2 is None:
        return False
    return bool(renameat2(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE) == 0)


def sync(path: Path) -> None:
    """Force a file's content, or a folder's names, to disk."""
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
