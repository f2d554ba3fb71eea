"""Where a worker works: the desk, the stores and the models it has, and how it was told to work."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from reelgrid.jobs.queue import JobQueue
from reelgrid.store.blobs import Blobs
from reelgrid.workers.habits import WorkerIntervals
from reelgrid.workers.journal import Trace
from reelgrid.workers.model_cache import ModelCache
from reelgrid.workers.pulse import Watchdog
from reelgrid.workers.results import Sign, leave_unsigned


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """Everything that a job needs beside itself.

    Attributes:
        worker: Id of the worker; new for every process.
        model_cache: The models in memory.
        scratch: Folder for files on their way.
        sign: Signs a finished file in place.
        is_leaving: Whether the worker is to save, give its job back and leave.
        watchdog: Is told of every piece of work that is done.
        clock: Seconds from any beginning, never set back.
        sleep: Waits so many seconds.
    """

    worker: str
    job_queue: JobQueue
    blobs: Blobs
    model_cache: ModelCache
    scratch: Path
    intervals: WorkerIntervals = field(default_factory=WorkerIntervals)
    sign: Sign = leave_unsigned
    trace: Trace = field(default_factory=lambda: Trace(None, ""))
    is_leaving: Callable[[], bool] = lambda: False
    watchdog: Watchdog = field(default_factory=Watchdog)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep
