"""Small pictures of a job on its way, for whoever is watching.

They cost no more than a fiftieth of the time, and are written on a thread of their own; one that is
still being written is waited for by nobody. Not here: how a preview is computed (`engine.preview`).
"""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reelgrid.engine.generation import Generation
from reelgrid.errors import GenerationError
from reelgrid.media import Provenance, write_image
from reelgrid.store.blobs import Blobs

PREVIEW_EVERY_S = 1.0
COST_SHARE = 0.02

_QUALITY = 80
_NUM_KEPT = 2  # a client may be about to fetch the one before

_log = logging.getLogger(__name__)


def previews_prefix(job_id: str) -> str:
    """Return what the names of a job's previews begin with."""
    return f"previews/{job_id}/"


class Previews:
    """Makes previews of one claim, until the end of the `with` block.

    Args:
        blobs: Where they go.
        scratch: Folder for the picture before it is a blob.
        may_write: Asked before a blob is written: whether the job is still this worker's.
        every_s: Seconds from one to the next, at least.
        clock: Seconds from any beginning, never set back.
    """

    def __init__(
        self,
        blobs: Blobs,
        scratch: Path,
        *,
        may_write: Callable[[], bool],
        every_s: float = PREVIEW_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._blobs = blobs
        self._scratch = scratch
        self._may_write = may_write
        self._every_s = every_s
        self._clock = clock
        self._due_at = clock() + every_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="previews")
        self._writing: Future[None] | None = None
        self._kept: list[str] = []

    def __enter__(self) -> "Previews":
        return self

    def __exit__(self, *_error: object) -> None:
        self.settle()
        self._thread.shutdown(wait=True)

    @property
    def latest(self) -> str | None:
        """The blob of the latest preview; none before the first."""
        return self._kept[-1] if self._kept else None

    @property
    def is_due(self) -> bool:
        """Whether it is time for one, and the last one is written."""
        is_writing = self._writing is not None and not self._writing.done()
        return not is_writing and self._clock() >= self._due_at

    def make(
        self, generation: Generation, provenance: Provenance, blob: str, *, is_kept: bool = False
    ) -> None:
        """Begin to make a preview of a generation that stands between two steps.

        Args:
            generation: What is shown.
            provenance: Goes into the picture.
            blob: Where it goes.
            is_kept: Whether it outlives the previews after it.
        """
        self.settle()
        start = self._clock()
        try:
            frame = generation.preview()
        except GenerationError as error:
            _log.info("no preview: %s", error)
            self._due_at = float("inf")  # this model has none
            return
        end = self._clock()
        self._due_at = end + max(self._every_s, (end - start) / COST_SHARE)
        self._writing = self._thread.submit(self._write, frame, provenance, blob, is_kept)

    def settle(self) -> None:
        """Return when the preview that is being written is written."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

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
            _log.info("a preview is not kept: %s", error)
        finally:
            file.unlink(missing_ok=True)

    def _keep(self, blob: str) -> None:
        self._kept = [*(name for name in self._kept if name != blob), blob]
        for name in self._kept[:-_NUM_KEPT]:
            self._blobs.delete(name)
        self._kept = self._kept[-_NUM_KEPT:]
