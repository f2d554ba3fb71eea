"""Write a file or a folder so that, whatever happens, its name never shows half of it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def write_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path` with its suffix; what is written there becomes `path`.

    The file is on disk before it takes the name; on any error, the temporary file is removed and
    whatever had the name before is untouched.

    Yields:
        The name to write to.
    """
    handle, name = tempfile.mkstemp(prefix=".", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(path.parent)


@contextmanager
def write_whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; its files become `path`, replacing what was there.

    Yields:
        The folder to write into.
    """
    temporary = Path(tempfile.mkdtemp(prefix=".", dir=path.parent))
    try:
        yield temporary
        for file in temporary.iterdir():
            _sync(file)
        temporary.chmod(0o777 & ~_umask())
        _swap(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _sync(path.parent)


def _swap(new: Path, path: Path) -> None:
    if not path.exists():
        new.rename(path)
        return
    old = Path(tempfile.mkdtemp(prefix=".", dir=path.parent)) / path.name
    path.rename(old)
    new.rename(path)
    shutil.rmtree(old.parent)


def _sync(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
