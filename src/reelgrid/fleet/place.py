"""Where a worker works: the desk, the stores and the models it has, and how it was told to work."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from reelgrid.fleet.delivery import Sign, leave_unsigned
from reelgrid.fleet.habits import Habits
from reelgrid.fleet.journal import Journal
from reelgrid.fleet.pulse import Pulse
from reelgrid.fleet.shelf import Shelf
from reelgrid.jobs.desk import Desk
from reelgrid.store.blobs import Blobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """Everything that a job needs beside itself.

    Attributes:
        worker: Id of the worker; new for every process.
        shelf: The models in memory.
        scratch: Folder for files on their way.
        sign: Signs a finished file in place.
        is_leaving: Whether the worker is to save, give its job back and leave.
        pulse: Is told of every piece of work that is done.
        clock: Seconds from any beginning, never set back.
        sleep: Waits so many seconds.
    """

    worker: str
    desk: Desk
    blobs: Blobs
    shelf: Shelf
    scratch: Path
    habits: Habits = field(default_factory=Habits)
    sign: Sign = leave_unsigned
    journal: Journal = field(default_factory=lambda: Journal(None, ""))
    is_leaving: Callable[[], bool] = lambda: False
    pulse: Pulse = field(default_factory=Pulse)
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep
