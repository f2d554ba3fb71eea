"""Whether a worker's work goes on: what hangs must not be kept alive by beats from a thread."""

import time
from collections.abc import Callable

MIN_PATIENCE_S = 600.0
"""A step may take so long,"""
PATIENCE_STEPS = 20.0
"""and so many times as long as the ones before it."""

PATIENCE_S = {
    "load": 6 * 3600.0,  # of a model that is fetched first
    "encode": 3600.0,  # and the first step, which may be compiled
    "decode": 3600.0,
    "write": 3600.0,
}
"""What else a worker does, and how long that may take."""


class Watchdog:
    """The time of the last piece of work, and how long the next may take.

    Args:
        clock: Seconds from any beginning, never set back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: tuple[float, float] | None = None

    def enter(self, stage: str) -> None:
        """Note that something begins that takes no steps: one of `PATIENCE_S`."""
        self._last = self._clock(), PATIENCE_S[stage]

    def step(self, step_s: float | None) -> None:
        """Note that a denoising step is done and another follows.

        Args:
            step_s: Seconds that a step takes, if that is known.
        """
        self._last = self._clock(), max(MIN_PATIENCE_S, PATIENCE_STEPS * (step_s or 0.0))

    def wait(self) -> None:
        """Note that the work waits, for the desk or for room, and has not stopped for ever."""
        if self._last is not None:
            self._last = self._clock(), self._last[1]

    def rest(self) -> None:
        """Note that there is no work: that may last."""
        self._last = None

    @property
    def is_well(self) -> bool:
        """Whether what is being done has not taken for ever yet."""
        last = self._last
        return last is None or self._clock() - last[0] < last[1]
