"""Preview images of a running job, written by a background thread.

They take no more than a fiftieth of the time; nothing waits for one that is still being written.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from reelgrid.engine.checkpointer import BackgroundWriter
from reelgrid.engine.generation import Generation
from reelgrid.errors import GenerationError
from reelgrid.media import Provenance, write_image
from reelgrid.store.blobs import Blobs

COST_SHARE = 0.02

_QUALITY = 80
_NUM_KEPT = 2  # a client may be about to download the previous one

_log = logging.getLogger(__name__)


def previews_prefix(job_id: str) -> str:
    """Return the prefix of the names of a job's preview blobs."""
    return f"previews/{job_id}/"


class Previews:
    """Makes previews of one claim, until the end of the `with` block.

    Args:
        blobs: Where they are stored.
        scratch: Folder for the image before it is a blob.
        may_write: Asked before a blob is written: whether the job is still this worker's.
        every_s: Least seconds from one to the next.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        blobs: Blobs,
        scratch: Path,
        *,
        may_write: Callable[[], bool],
        every_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._blobs = blobs
        self._scratch = scratch
        self._may_write = may_write
        self._every_s = every_s
        self._clock = clock
        self._due_at = clock() + every_s
        self._writer = BackgroundWriter("previews")
        self._kept: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        with self._writer:
            pass  # it waits for the last preview

    @property
    def latest(self) -> str | None:
        """The blob of the latest preview; `None` before the first."""
        return self._kept[-1] if self._kept else None

    @property
    def is_due(self) -> bool:
        """Whether it is time for one, and the last one is written."""
        return not self._writer.is_busy and self._clock() >= self._due_at

    def make(
        self, generation: Generation, provenance: Provenance, blob: str, *, is_kept: bool = False
    ) -> None:
        """Compute a preview of a generation between two steps, and begin to write it.

        Args:
            generation: What is shown.
            provenance: Written into the image.
            blob: Its name.
            is_kept: Whether later previews leave it in place.
        """
        self._writer.wait()
        start = self._clock()
        try:
            frame = generation.preview()
        except GenerationError as error:
            _log.info("no preview: %s", error)
            self._due_at = float("inf")  # this model has none
            return
        end = self._clock()
        self._due_at = end + max(self._every_s, (end - start) / COST_SHARE)
        self._writer.start(lambda: self._write(frame, provenance, blob, is_kept))

    def _write(
        self, frame: NDArray[np.uint8], provenance: Provenance, blob: str, is_kept: bool
    ) -> None:
        file = self._scratch / Path(blob).name
        try:
            write_image(frame, file, provenance=provenance, quality=_QUALITY)
            if self._may_write():
                self._blobs.put(blob, file)
                if not is_kept:
                    self._keep(blob)
        except Exception as error:  # noqa: BLE001  # the work matters more
            _log.info("a preview is not stored: %s", error)
        finally:
            file.unlink(missing_ok=True)

    def _keep(self, blob: str) -> None:
        self._kept = [*(name for name in self._kept if name != blob), blob]
        for name in self._kept[:-_NUM_KEPT]:
            self._blobs.delete(name)
        self._kept = self._kept[-_NUM_KEPT:]
