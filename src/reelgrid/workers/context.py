"""What a worker works with: its job queue, stores, models and settings, and its trace of events."""

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from reelgrid.jobs.queue import JobQueue
from reelgrid.store.blobs import Blobs
from reelgrid.workers.lease import Watchdog
from reelgrid.workers.model_cache import ModelCache
from reelgrid.workers.results import Sign, leave_unsigned
from reelgrid.workers.settings import WorkerIntervals


class Trace:
    """File of a worker's events as JSON lines, for measuring; it outlives the worker's death.

    A line is one `write` to a file opened for appending: the system has it when the call returns, and
    several workers may share the file.

    Args:
        path: Where lines are appended; `None` records nothing.
        worker: Id in every line.
    """

    def __init__(self, path: Path | None, worker: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._handle = None if path is None else os.open(path, flags, 0o644)
        self._worker = worker

    def record(self, event: str, **fields: object) -> None:
        """Append an event with the seconds of the system's monotonic clock."""
        if self._handle is None:
            return
        line = {"at_s": round(time.monotonic(), 4), "worker": self._worker, "event": event}
        with suppress(OSError):  # the disk is full: the work matters more
            os.write(self._handle, (json.dumps({**line, **fields}) + "\n").encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """Everything that a job needs beside itself.

    Attributes:
        worker: Id of the worker; every process has a new one.
        model_cache: The models in memory.
        scratch: Folder for temporary files.
        prompts_in_metadata: Whether files hold the prompt, not only its hash.
        sign: Signs a finished file in place.
        is_stopping: Whether the worker is to save, release its job and stop.
        watchdog: Receives all progress.
        clock: Monotonic seconds.
        sleep: Waits so many seconds.
    """

    worker: str
    job_queue: JobQueue
    blobs: Blobs
    model_cache: ModelCache
    scratch: Path
    intervals: WorkerIntervals = field(default_factory=WorkerIntervals)
    prompts_in_metadata: bool = False
    sign: Sign = leave_unsigned
    trace: Trace = field(default_factory=lambda: Trace(None, ""))
    is_stopping: Callable[[], bool] = lambda: False
    watchdog: Watchdog = field(default_factory=Watchdog)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep
