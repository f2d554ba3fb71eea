"""Save a generation while it runs: a snapshot between two steps, written while the next compute.

The loop stops for a copy of the tensors only; checksum, file and fsync happen on a thread of their
own, one state at a time. Not here: what a state file holds (the engine's), nor when to stop.
"""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self

from safetensors import SafetensorError

from reelgrid.engine.checkpoint import Checkpoint, write_checkpoint
from reelgrid.engine.generation import Generation
from reelgrid.errors import GenerationError
from reelgrid.local.unfinished_runs import UnfinishedRun

_log = logging.getLogger(__name__)


class Saving:
    """Saves one generation; what of it is on disk is held until the end of the `with` block.

    Args:
        generation: What is saved; its steps are made elsewhere.
        entry: Where to.
        every_s: Seconds from one snapshot to the next.
    """

    def __init__(self, generation: Generation, entry: UnfinishedRun, every_s: float) -> None:
        self._generation = generation
        self._entry = entry
        self._every_s = every_s
        self._due_at = time.monotonic() + every_s
        self._held = ExitStack()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="saving")
        self._writing: Future[None] | None = None

    def __enter__(self) -> Self:
        if self._entry.checkpoint.exists():
            self._held.enter_context(self._entry.lock())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._held, self._thread:
            self.settle()

    def save_if_due(self) -> None:
        """Begin to save, if it is time and the last state is written.

        A failure is said, now or when the writing is over, and the work goes on: a full disk
        elsewhere is no reason to lose it.
        """
        if time.monotonic() < self._due_at or self._is_writing:
            return
        self.settle()
        self._due_at = time.monotonic() + self._every_s
        try:
            self._writing = self._thread.submit(self._write, self._snapshot())
        except GenerationError as error:
            _log.warning("%s", error)

    def save_now(self) -> None:
        """Save, and return when it is done.

        Raises:
            GenerationError: The state could not be saved.
        """
        self.settle()
        self._write(self._snapshot())

    def settle(self) -> None:
        """Wait until the last state is written; if it could not be, say so."""
        writing, self._writing = self._writing, None
        try:
            if writing is not None:
                writing.result()
        except GenerationError as error:
            _log.warning("%s", error)

    @property
    def _is_writing(self) -> bool:
        return self._writing is not None and not self._writing.done()

    def _snapshot(self) -> Checkpoint:
        if not self._entry.sidecar.exists():
            with self._in_one_line():
                self._held.enter_context(self._entry.lock())
        return self._generation.snapshot()

    def _write(self, saved: Checkpoint) -> None:
        with self._in_one_line():
            write_checkpoint(self._entry.checkpoint, saved)

    @contextmanager
    def _in_one_line(self) -> Iterator[None]:
        """Say in one line what the disk refuses."""
        try:
            yield
        except (OSError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:200]
            raise GenerationError(
                f"the state could not be saved to {self._entry.checkpoint}: {reason}; "
                "make room, or set REELGRID_DATA to another folder"
            ) from error
