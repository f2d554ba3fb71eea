"""Write a file or a folder so that, whatever happens, its name never shows half of it."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
    temporary = _temporary(path.parent, path.suffix)
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
    """Yield a temporary folder beside `path`; its files become `path`, replacing what was there.

    Yields:
        The folder to write into.
    """
    temporary = _temporary(path.parent)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.iterdir():
            sync(file)
        _swap(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync(path.parent)


def _temporary(folder: Path, suffix: str = "") -> Path:
    """Return a hidden name in `folder` that nothing has."""
    return folder / f".{secrets.token_hex(8)}{suffix}"


def _swap(new: Path, path: Path) -> None:
    if not path.exists():
        new.rename(path)
        return
    old = _temporary(path.parent)
    path.rename(old)
    new.rename(path)
    shutil.rmtree(old)


def sync(path: Path) -> None:
    """Force a file's content, or a folder's names, to disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
