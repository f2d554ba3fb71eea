"""Whether a failure to store something goes away by itself: a disk is full, a store out of reach."""

import errno
import shutil
from pathlib import Path

from reelgrid.errors import StorageFullError
from reelgrid.store.blobs import Blobs

NEXT_TO_NOTHING_BYTES = 4 << 20
"""With less free than this, any failure to write is taken for a lack of room."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class NotStored(OSError):  # noqa: N818  # named by what it means
    """A store refused a blob, for whatever reason: it may take it later."""


def passes(error: BaseException, scratch: Path, blobs: Blobs) -> bool:
    """Return whether a failure to write files goes away: when there is room, or the store is back.

    Libraries that write through others do not always say why they failed: then the disks are asked.

    Args:
        error: What was raised.
        scratch: Where files were written first.
        blobs: Where they were to go.
    """
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(error, StorageFullError | NotStored) or getattr(cause, "errno", None) in _FULL:
        return True
    free = [shutil.disk_usage(scratch).free, blobs.free_bytes()]
    return any(each is not None and each < NEXT_TO_NOTHING_BYTES for each in free)
