"""How a worker is told to leave, and that it leaves even where nothing listens.

The wish is read at the edge of a step: the state is saved, the job given back. A step, a load or a
decode that takes longer than the grace is left behind: the job is given back with its last save.
Before it has begun to take work, a worker leaves at once.
"""

import logging
import os
import signal
import threading
from collections.abc import Callable

LAST_WORDS_S = 3.0
"""Giving back at last takes no longer: a database may be gone too."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_log = logging.getLogger(__name__)


class GracefulShutdown:
    """A wish to leave that comes from a signal, from the end of the supervisor, or from a test.

    Args:
        grace_s: Seconds that the worker has to leave by itself.
        end: Ends the process at once.

    Attributes:
        wake: Is set when there may be work, or when the worker is to leave.
    """

    def __init__(self, grace_s: float, end: Callable[[int], object] = os._exit) -> None:
        self.wake = threading.Event()
        self._grace_s = grace_s
        self._end = end
        self._at_last: Callable[[], object] | None = None
        self._is_wanted = threading.Event()
        self._has_left = threading.Event()

    @property
    def is_wanted(self) -> bool:
        """Whether the worker is to leave."""
        return self._is_wanted.is_set()

    def begin(self, at_last: Callable[[], object]) -> None:
        """Note that the worker takes work from here on.

        Args:
            at_last: Gives back what can be given back, when the grace is over.
        """
        self._at_last = at_last

    def ask(self) -> None:
        """Ask the worker to leave; the first time starts the grace."""
        if self._at_last is None:
            self._end(0)
        elif not self._is_wanted.is_set():
            self._is_wanted.set()
            self.wake.set()
            threading.Thread(target=self._wait, name="departure", daemon=True).start()

    def left(self) -> None:
        """Note that the worker has left its loop."""
        self._has_left.set()

    def on_signals(self) -> None:
        """Leave on SIGTERM and SIGINT; to be called by the main thread.

        A thread hears of them through a pipe that the system's handler writes to. Python's handlers
        run in the main thread: not before a long call into a library returns, and perhaps while
        that thread holds the very lock that they need.
        """
        heard, told = os.pipe()
        os.set_blocking(told, False)
        for number in _SIGNALS:
            signal.signal(number, lambda *_at: None)
        signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        threading.Thread(target=self._listen, args=(heard,), name="signals", daemon=True).start()

    def _listen(self, heard: int) -> None:
        while numbers := os.read(heard, 64):
            if set(numbers) & set(_SIGNALS):
                self.ask()

    def _wait(self) -> None:
        if self._has_left.wait(self._grace_s):
            return
        _log.warning("a step takes longer than %.0f s: leaving without it", self._grace_s)
        assert self._at_last is not None
        last = threading.Thread(target=self._at_last, name="at last", daemon=True)
        last.start()
        last.join(LAST_WORDS_S)
        self._end(0)
