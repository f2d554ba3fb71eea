"""What one claim of a job took, by parts, for the machine's profile."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

from reelgrid.jobs.messages import Timing

NUM_COLD_STEPS = 1
"""The first steps of a claim find everything cold and are left out, if there are others."""


class Stopwatch:
    """Adds up the parts of one claim.

    Args:
        workload: What the times are comparable for.
    """

    def __init__(self, workload: str) -> None:
        self._workload = workload
        self._parts: dict[str, float] = {}
        self._step_s: list[float] = []

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Add the time of the block to `part`: load or write.

        Yields:
            Nothing.
        """
        start = time.perf_counter()
        yield
        self.add(part, time.perf_counter() - start)

    def add(self, part: str, took_s: float) -> None:
        """Add seconds to a part: load, encode, step, decode or write."""
        if part == "step":
            self._step_s.append(took_s)
        else:
            self._parts[part] = self._parts.get(part, 0.0) + took_s

    @property
    def timing(self) -> Timing:
        """All parts that were measured."""
        warm = self._step_s[NUM_COLD_STEPS:] or self._step_s
        times = {f"{part}_s": took_s for part, took_s in self._parts.items()}
        step_s = statistics.mean(warm) if warm else None
        return Timing(workload=self._workload, step_s=step_s, **times)
