"""Blob storage: finished files and checkpoints by name, in a local folder, in memory or an object store.

A blob is there whole or not at all, and its name is a few plain words, never a path of the caller's
choosing. Which blobs are still needed is decided by `jobs.retention`.
"""

import errno
import io
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from reelgrid.errors import RequestError, StorageFullError
from reelgrid.store.atomic import atomic_write, sync

_NAME: Final = re.compile(r"[a-z0-9_-]+(/[a-z0-9_-]+)*(\.[a-z0-9]+)?")
_MAX_NAME_CHARS: Final = 200
DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors of a full disk or quota: they pass as soon as something is removed."""

_PERMANENT: Final = frozenset({errno.EFBIG, errno.EROFS, errno.ENAMETOOLONG})

# Where an object appears at once or never, so that no temporary name is needed.
_OBJECT_STORES: Final = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "memory", "dir"})
_IN_MEMORY: Final = frozenset({"memory", "dir"})
_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Blob:
    """One stored blob.

    Attributes:
        modified_s: When it was stored, in seconds since 1970 on the store's clock.
    """

    name: str
    size_bytes: int
    modified_s: float


class Blobs:
    """All blobs below one URL.

    Args:
        url: A local folder (made if missing), `memory://anything`, or `s3://bucket/prefix` (needs
            the package s3fs; its settings are the usual AWS variables).

    Raises:
        RequestError: The URL is of a kind that cannot promise whole blobs, or needs a package.
    """

    def __init__(self, url: str | Path) -> None:
        self.url = str(url)
        self._folder = _local_folder(self.url)
        if self._folder is None:
            self._files, self._root = _open_remote(self.url)
        else:
            self._folder.mkdir(parents=True, exist_ok=True)

    def put(self, name: str, content: Path | bytes) -> None:
        """Store a file's content, or bytes, under a name, replacing what had it.

        Raises:
            RequestError: The name will not do.
            StorageFullError: There is no space; the store is unchanged.
            OSError: The store refuses for another reason; `is_transient` tells whether to try again.
        """
        path = self._path(name)
        try:
            if isinstance(path, Path):
                _put_local(path, content)
            else:
                self._put_remote(path, content)
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            raise StorageFullError(
                f"{name} could not be stored: {error.strerror}; nothing was left there"
            ) from error

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """Return a blob's bytes from `start` up to `stop`, or to its end.

        Raises:
            FileNotFoundError: There is no such blob.
        """
        assert start >= 0
        assert stop is None or stop >= start
        path = self._path(name)
        if not isinstance(path, Path):
            return self._read_remote(path, name, start, stop)
        with path.open("rb") as file:
            file.seek(start)
            return file.read(-1 if stop is None else stop - start)

    def open(self, name: str) -> BinaryIO:
        """Return a blob as a file of bytes that can be read and sought.

        Raises:
            FileNotFoundError: There is no such blob.
        """
        path = self._path(name)
        if isinstance(path, Path):
            return path.open("rb")
        if self._protocol in _IN_MEMORY:  # fsspec would hand every reader the same file object
            return io.BytesIO(self.read(name))
        opened: BinaryIO = self._files.open(path, "rb")
        return opened

    def stream(self, name: str, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yield a blob's bytes from `start` up to `stop` in pieces of a megabyte.

        A local blob that is deleted or replaced meanwhile is still read to its end as it was.

        Yields:
            At most a megabyte of bytes, never an empty piece.

        Raises:
            FileNotFoundError: There is no such blob.
        """
        left = self.size(name) - start if stop is None else stop - start
        with self.open(name) as file:
            file.seek(start)
            while left > 0 and (piece := file.read(min(left, _CHUNK_BYTES))):
                left -= len(piece)
                yield piece

    @contextmanager
    def as_file(self, name: str) -> Iterator[Path]:
        """Yield a path to read the blob from: its own, or a copy that lasts as long as the block.

        Yields:
            The path; its suffix is the name's.

        Raises:
            FileNotFoundError: There is no such blob.
        """
        path = self._path(name)
        if isinstance(path, Path):
            if not path.is_file():
                raise FileNotFoundError(errno.ENOENT, "there is no such blob", name)
            yield path
            return
        with tempfile.TemporaryDirectory(prefix="reelgrid-") as folder:
            copy = Path(folder) / Path(name).name
            with copy.open("wb") as file:
                file.writelines(self.stream(name))
            yield copy

    def size(self, name: str) -> int:
        """Return how many bytes a blob has.

        Raises:
            FileNotFoundError: There is no such blob.
        """
        path = self._path(name)
        if isinstance(path, Path):
            return path.stat().st_size
        return int(self._files.info(path)["size"])

    def find(self, name: str) -> Blob | None:
        """Return a blob's name, size and time, or `None` if there is no such blob."""
        path = self._path(name)
        try:
            if not isinstance(path, Path):
                known = self._files.info(path)
                return Blob(name, int(known["size"]), _modified_s(known))
            stat = path.stat()
        except FileNotFoundError:
            return None
        return Blob(name, stat.st_size, stat.st_mtime)

    def exists(self, name: str) -> bool:
        """Whether a blob has this name."""
        path = self._path(name)
        return path.is_file() if isinstance(path, Path) else bool(self._files.isfile(path))

    def delete(self, name: str) -> None:
        """Delete a blob; one that is not there is deleted already."""
        path = self._path(name)
        try:
            if isinstance(path, Path):
                path.unlink()
            else:
                self._files.rm_file(path)
        except FileNotFoundError:
            return

    def list(self, prefix: str = "") -> list[Blob]:
        """Return the blobs whose names begin with `prefix`, in the order of their names.

        Only the folder that the prefix names is searched.
        """
        below = prefix.rpartition("/")[0]
        found = self._list_local(below) if self._folder else self._list_remote(below)
        matching = (blob for blob in found if blob.name.startswith(prefix))
        return sorted(matching, key=lambda blob: blob.name)

    def total_bytes(self) -> int:
        """Return how many bytes all blobs have together."""
        return sum(blob.size_bytes for blob in self.list())

    def free_bytes(self) -> int | None:
        """Return how many bytes can still be stored; `None` for an object store."""
        return None if self._folder is None else shutil.disk_usage(self._folder).free

    def remove_leftovers(self, older_than_s: float) -> int:
        """Remove what killed writers left behind: hidden temporary files and empty folders.

        Args:
            older_than_s: Seconds since the last write to it; more than any write takes.

        Returns:
            How many were removed.
        """
        if self._folder is None:
            return 0
        before_s = time.time() - older_than_s
        found = sorted(self._folder.rglob("*"), reverse=True)  # a folder's content before itself
        return sum(_remove_leftover(path, before_s) for path in found)

    @property
    def _protocol(self) -> str:
        protocol = self._files.protocol
        return str(protocol if isinstance(protocol, str) else protocol[0])

    def _path(self, name: str) -> Path | str:
        if len(name) > _MAX_NAME_CHARS or not _NAME.fullmatch(name):
            raise RequestError(
                f"{name[:80]!r} is no name of a blob: a name has a-z, 0-9, _, -, / and at most one suffix",
                param="name",
            )
        return f"{self._root}/{name}" if self._folder is None else self._folder / name

    def _read_remote(self, path: str, name: str, start: int, stop: int | None) -> bytes:
        if start or stop is not None:  # object stores refuse a range that begins at the end
            size = self.size(name)
            stop = size if stop is None else min(stop, size)
            if start >= stop:
                return b""
        return bytes(self._files.cat_file(path, start=start, end=stop))

    def _put_remote(self, path: str, content: Path | bytes) -> None:
        if isinstance(content, Path) and self._protocol not in _IN_MEMORY:
            self._files.put_file(str(content), path)
            return
        whole = content.read_bytes() if isinstance(content, Path) else content
        self._files.pipe_file(path, whole)

    def _list_local(self, below: str) -> Iterator[Blob]:
        assert self._folder is not None
        for path in (self._folder / below).rglob("*"):
            name = path.relative_to(self._folder).as_posix()
            if not _NAME.fullmatch(name):
                continue
            try:
                known = path.stat()
            except FileNotFoundError:  # deleted meanwhile
                continue
            if path.is_file():
                yield Blob(name, known.st_size, known.st_mtime)

    def _list_remote(self, below: str) -> Iterator[Blob]:
        self._files.invalidate_cache()
        where = f"{self._root}/{below}".rstrip("/")
        for path, known in self._files.find(where, detail=True).items():
            name = path.removeprefix(self._root).lstrip("/")
            if _NAME.fullmatch(name):
                yield Blob(name, int(known["size"]), _modified_s(known))


def is_transient(error: BaseException) -> bool:
    """Return whether a store that refused a write may accept the same write later, unchanged.

    A full disk, a quota and a network that is down pass by themselves. A limit on the size of one file
    (`EFBIG`), a read-only store, a missing bucket and refused credentials stay until an operator
    changes something.
    """
    if isinstance(error, StorageFullError):
        return True
    if isinstance(error, PermissionError | FileNotFoundError):
        return False
    return isinstance(error, OSError) and error.errno not in _PERMANENT


def _local_folder(url: str) -> Path | None:
    if url.startswith("file://"):
        return Path(url.removeprefix("file://"))
    return None if "://" in url else Path(url).expanduser()


def _open_remote(url: str) -> tuple[Any, str]:
    protocol = re.split(r"::|://", url, maxsplit=1)[0]
    if protocol not in _OBJECT_STORES:
        known = ", ".join(f"{each}://" for each in ("s3", "gs", "abfs", "memory"))
        raise RequestError(
            f"blobs cannot be kept at {protocol}://: use a folder, or one of {known}", param="blobs"
        )
    try:
        import fsspec
    except ImportError:
        raise RequestError('blobs at a URL need: pip install "reelgrid[serve]"') from None
    try:
        files, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise RequestError(f"blobs at {protocol}:// need a package: {error}") from None
    return files, root.rstrip("/")


def _put_local(path: Path, content: Path | bytes) -> None:
    try:
        _write_local(path, content)
    except FileNotFoundError:  # the folder was empty and was removed meanwhile
        _write_local(path, content)


def _write_local(path: Path, content: Path | bytes) -> None:
    _make_folder(path.parent)
    with atomic_write(path) as temporary:
        if isinstance(content, Path):
            shutil.copyfile(content, temporary)
        else:
            temporary.write_bytes(content)


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, each known to its parent on disk."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync(folder.parent)


def _remove_leftover(path: Path, before_s: float) -> bool:
    try:
        if path.stat().st_mtime >= before_s:
            return False
        if path.is_dir():
            path.rmdir()
            return True
        if not path.name.startswith("."):
            return False
        path.unlink()
    except OSError:  # not empty, or already removed
        return False
    return True


def _modified_s(known: dict[str, Any]) -> float:
    """Return when an object was stored; each file system has its own name for the field."""
    for field in ("LastModified", "mtime", "last_modified", "created", "updated"):
        moment = known.get(field)
        if isinstance(moment, datetime):
            return moment.timestamp()
        if isinstance(moment, int | float):
            return float(moment)
    raise AssertionError(f"no modification time among {sorted(known)}")
