"""Background checkpointer: snapshots of a running generation, stored while the next steps compute.

Only the snapshot, a copy of the tensors between two steps, stops the steps; checksum, file, fsync and
upload happen on a thread, one checkpoint at a time. Where a checkpoint is stored is up to the caller:
a worker stores a blob and a row of the job queue, a local run a file.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from reelgrid.engine.checkpoint import Checkpoint
from reelgrid.engine.generation import Generation
from reelgrid.errors import GenerationError

LAST_SHARE = 0.25
"""After the last step a checkpoint is saved when this share of the interval has passed."""
NUM_COSTS = 5
"""The cost of a snapshot is the least of so many: on a busy machine most of them measure the others."""

_log = logging.getLogger(__name__)


class BackgroundWriter:
    """Runs one task at a time on its own thread, until the end of the `with` block.

    Args:
        name: Name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._task: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        with self._executor:
            self.wait()

    @property
    def is_busy(self) -> bool:
        """Whether a task is running."""
        return self._task is not None and not self._task.done()

    def start(self, task: Callable[[], None]) -> None:
        """Start a task; the last one is waited for, and raises here what it raised."""
        self.wait()
        self._task = self._executor.submit(task)

    def wait(self) -> None:
        """Return when the last task is done, or raise what it raised."""
        task, self._task = self._task, None
        if task is not None:
            task.result()


class Checkpointer:
    """Saves checkpoints of generations, until the end of the `with` block.

    A checkpoint that cannot be stored is logged and the steps continue: a full disk is no reason to
    lose the work.

    Args:
        store: Stores a snapshot taken after so many steps; raises `GenerationError` if it cannot.
        interval_s: Seconds from one snapshot to the next, given the seconds that one takes.
        log_fields: Extra fields of log records.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        store: Callable[[Checkpoint, int], None],
        interval_s: Callable[[float], float],
        *,
        log_fields: Mapping[str, object] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._interval_s = interval_s
        self._log_fields = log_fields
        self._clock = clock
        self._costs_s = deque([0.0], maxlen=NUM_COSTS)  # the least counts: noise only adds
        self._saved_at = clock()
        self._writer = BackgroundWriter("checkpoints")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with self._writer:
            self.wait()

    def save_if_due(self, generation: Generation, step: int, *, is_last: bool = False) -> None:
        """Begin to save a checkpoint, if it is time and the last one is stored.

        Args:
            generation: Between two steps.
            step: Steps of the whole job that are done.
            is_last: Whether all steps are done: then it is time earlier, so that a process that dies
                while it decodes and writes has nothing to compute again.
        """
        wait_s = self._interval_s(min(self._costs_s)) * (LAST_SHARE if is_last else 1.0)
        if self._clock() < self._saved_at + wait_s or self._writer.is_busy:
            return
        self.wait()
        try:
            snapshot = self._snapshot(generation)
        except GenerationError as error:  # something in it cannot be written to a file
            self._warn(error)
            return
        self._writer.start(lambda: self._store(snapshot, step))

    def save_now(self, generation: Generation, step: int) -> None:
        """Save a checkpoint, and return when it is stored.

        Raises:
            GenerationError: It could not be stored.
        """
        self.wait()
        self._store(self._snapshot(generation), step)

    def wait(self) -> None:
        """Return when the last checkpoint is stored; if it could not be, log why."""
        try:
            self._writer.wait()
        except GenerationError as error:
            self._warn(error)

    def _snapshot(self, generation: Generation) -> Checkpoint:
        self._saved_at = self._clock()
        snapshot = generation.snapshot()
        self._costs_s.append(self._clock() - self._saved_at)
        return snapshot

    def _warn(self, error: GenerationError) -> None:
        _log.warning("%s", error, extra=self._log_fields)
