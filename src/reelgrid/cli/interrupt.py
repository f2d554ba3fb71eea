"""Ctrl-C and a polite kill: finish the step, save, leave; the second one leaves without saving."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from reelgrid.cli.console import say


class StopWish:
    """Whether somebody has asked to stop."""

    def __init__(self) -> None:
        self.is_made = False

    def __call__(self) -> bool:
        """Whether it is time to stop; to be asked between steps."""
        return self.is_made

    def make(self, number: int, frame: FrameType | None) -> None:
        """Note the wish; as a signal handler."""
        if self.is_made:
            raise KeyboardInterrupt
        self.is_made = True
        say("stopping after this step; once more stops at once, without saving")


@contextmanager
def stop_wish() -> Iterator[StopWish]:
    """Yield a wish that SIGINT and SIGTERM make, while the block runs.

    Yields:
        The wish.
    """
    wish = StopWish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, wish.make) for number in signals]
    try:
        yield wish
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
