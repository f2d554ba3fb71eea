"""Whether a worker's work goes on: a step that hangs must not be kept alive by beats from a thread."""

import time
from collections.abc import Callable

MIN_PATIENCE_S = 600.0
PATIENCE_STEPS = 20.0


class Pulse:
    """The time of the last piece of work, and how long the next may take.

    Args:
        clock: Seconds from any beginning, never set back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._beat_at: float | None = None
        self._patience_s = MIN_PATIENCE_S

    def step(self, step_s: float | None) -> None:
        """Note that a denoising step is done and another follows.

        Args:
            step_s: Seconds that a step takes, if that is known.
        """
        self._beat_at = self._clock()
        self._patience_s = max(MIN_PATIENCE_S, PATIENCE_STEPS * (step_s or 0.0))

    def rest(self) -> None:
        """Note that what follows may take any time: loading, encoding, decoding, waiting."""
        self._beat_at = None

    @property
    def is_well(self) -> bool:
        """Whether the step that is being made has not taken for ever yet."""
        return self._beat_at is None or self._clock() - self._beat_at < self._patience_s
