"""Time budget of a training run over several processes, and the learning rate schedule over it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass
class TimeBudget:
    """Minutes of training; compiling, measuring and checkpoints do not count.

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
        """Count the time of the block."""
        start = time.monotonic()
        yield
        self.spent_s += time.monotonic() - start

    def learning_rate_factor(self, step: int) -> float:
        """Return the factor of the learning rate: warm-up, constant, then linear decay to zero."""
        left = max(0.0, 1 - self.spent_s / (60 * self.minutes))
        return min(1.0, (step + 1) / self.warm_up, left / self.decay)


def set_learning_rates(
    optimisers: Sequence[torch.optim.Optimizer], learning_rate_factor: float
) -> None:
    """Set the learning rate of each group to a multiple of its initial one."""
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group.setdefault("full_lr", group["lr"]) * learning_rate_factor
