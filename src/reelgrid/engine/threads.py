"""How many threads the processor's kernels share their work among."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def num_threads(count: int) -> Iterator[None]:
    """Compute with `count` threads inside the block.

    A sum that is shared among another number of threads rounds differently (seen in float32), so
    a generation goes on with as many as it began with.
    """
    before = torch.get_num_threads()
    if count != before:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        if count != before:
            torch.set_num_threads(before)
