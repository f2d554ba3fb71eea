"""Storage: blobs, atomic writes and file locks. What the files contain is not known here."""

from reelgrid.store.atomic import atomic_write, atomic_write_folder
from reelgrid.store.blobs import DISK_FULL, Blob, Blobs, is_transient
from reelgrid.store.lock import is_locked, lock_file

__all__ = [
    "DISK_FULL",
    "Blob",
    "Blobs",
    "atomic_write",
    "atomic_write_folder",
    "is_locked",
    "is_transient",
    "lock_file",
]
