"""Files and blobs that are there whole or not at all, and who holds them.

Not here: what is in the files.
"""

from reelgrid.store.atomic import atomic_write, atomic_write_folder
from reelgrid.store.blobs import Blob, Blobs
from reelgrid.store.lock import is_locked, lock_file

__all__ = [
    "Blob",
    "Blobs",
    "atomic_write",
    "atomic_write_folder",
    "is_locked",
    "lock_file",
]
