"""A time budget that outlives the process, and the learning rate that follows it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass
class TimeBudget:
    """Minutes to spend on training; what is compiled, measured or saved does not count.

    Attributes:
        minutes: The budget over all processes.
        decay: Share of the budget over which the learning rate falls to zero.
        warm_up: Steps over which it rises.
        spent_s: Seconds spent so far.
    """

    minutes: float
    decay: float
    warm_up: int
    spent_s: float = 0.0

    @property
    def is_over(self) -> bool:
        """Whether the budget is spent."""
        return self.spent_s >= 60 * self.minutes

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time within."""
        start = time.monotonic()
        yield
        self.spent_s += time.monotonic() - start

    def pace(self, step: int) -> float:
        """Share of the full learning rate: up, flat, then linearly down to zero."""
        left = max(0.0, 1 - self.spent_s / (60 * self.minutes))
        return min(1.0, (step + 1) / self.warm_up, left / self.decay)


def set_rates(optimisers: Sequence[torch.optim.Optimizer], pace: float) -> None:
    """Set each group's learning rate to a share of the one it was made with."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group.setdefault("full_lr", group["lr"]) * pace
