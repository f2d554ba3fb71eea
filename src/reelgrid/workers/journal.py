"""What a worker did and when, as JSON lines that outlive its death: for measuring, not for resuming.

A line is one `write` to a file opened for appending: the system has it when the call returns, and
several workers may share the file.
"""

import json
import os
import time
from contextlib import suppress
from pathlib import Path


class Trace:
    """A file of events, or none.

    Args:
        path: Where lines are appended; none keeps no journal.
        worker: Name in every line.
    """

    def __init__(self, path: Path | None, worker: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._handle = None if path is None else os.open(path, flags, 0o644)
        self._worker = worker

    def note(self, event: str, **fields: object) -> None:
        """Append an event with the seconds of the system's monotonic clock."""
        if self._handle is None:
            return
        line = {"at_s": round(time.monotonic(), 4), "worker": self._worker, "event": event}
        with suppress(OSError):  # a disk that is full: the work matters more
            os.write(self._handle, (json.dumps({**line, **fields}) + "\n").encode())

    def close(self) -> None:
        """Close the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
