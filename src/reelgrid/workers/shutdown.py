"""Graceful shutdown with a deadline: the worker ends in time even if its main thread is stuck.

The request is read between two steps: the checkpoint is saved and the job released. A step, a load or
a decode that takes longer than the grace period is abandoned: the job is released with its last
checkpoint. Before the worker has begun to take work, the process ends at once.
"""

import logging
import os
import signal
import threading
from collections.abc import Callable

RELEASE_WITHIN_S = 3.0
"""The last resort takes no longer: the database may be gone too."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = logging.getLogger(__name__)


class GracefulShutdown:
    """A request to stop that comes from a signal, from the end of the supervisor, or from a test.

    Args:
        grace_s: Seconds that the worker has to stop by itself.
        end: Ends the process at once.

    Attributes:
        wake: Set when there may be work, or when the worker is to stop.
    """

    def __init__(self, grace_s: float, end: Callable[[int], object] = os._exit) -> None:
        self.wake = threading.Event()
        self._grace_s = grace_s
        self._end = end
        self._last_resort: Callable[[], object] | None = None
        self._is_requested = threading.Event()
        self._has_finished = threading.Event()

    @property
    def is_requested(self) -> bool:
        """Whether the worker is to stop."""
        return self._is_requested.is_set()

    def arm(self, last_resort: Callable[[], object]) -> None:
        """Note that the worker takes work from here on.

        Args:
            last_resort: Releases the job in hand from another thread, when the grace period is over.
        """
        self._last_resort = last_resort

    def request(self) -> None:
        """Ask the worker to stop; the first request starts the grace period."""
        if self._last_resort is None:
            self._end(0)
        elif not self._is_requested.is_set():
            self._is_requested.set()
            self.wake.set()
            threading.Thread(target=self._enforce, name="shutdown", daemon=True).start()

    def finished(self) -> None:
        """Note that the worker takes no more work."""
        self._has_finished.set()

    def listen_for_signals(self) -> None:
        """Stop on SIGTERM and SIGINT; to be called by the main thread.

        A thread reads them from a pipe that the C handler writes to. Python's own handlers run in the
        main thread: not before a long call into a library returns, and perhaps while that thread
        holds the very lock that they need.
        """
        read, write = os.pipe()
        os.set_blocking(write, False)
        for number in _SIGNALS:
            signal.signal(number, lambda *_at: None)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        threading.Thread(target=self._listen, args=(read,), name="signals", daemon=True).start()

    def _listen(self, pipe: int) -> None:
        while numbers := os.read(pipe, 64):
            if set(numbers) & set(_SIGNALS):
                self.request()

    def _enforce(self) -> None:
        if self._has_finished.wait(self._grace_s):
            return
        _log.warning("a step takes longer than %.0f s: it is abandoned", self._grace_s)
        assert self._last_resort is not None
        release = threading.Thread(target=self._last_resort, name="last-resort", daemon=True)
        release.start()
        release.join(RELEASE_WITHIN_S)
        self._end(0)
