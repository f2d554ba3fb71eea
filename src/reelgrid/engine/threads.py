"""How many threads the processor's kernels share their work among."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from reelgrid.models.loading import LoadedModel
from reelgrid.spec import Request

SMALL_PARAMS_B = 0.1
SMALL_CLIP_PIXELS = 2**20


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


def fitting_threads(model: LoadedModel, request: Request) -> int:
    """Return how many threads a generation is worth: one for a small clip of a small model.

    Its products are too small to share. On two quiet cores the embedded model took 0.13 s with one
    thread and 0.23 s with two that sleep while they wait (docs/log.md); two that spin took 0.10 s,
    and 1.8 s beside other work.
    """
    assert request.size is not None
    num_pixels = request.size.width * request.size.height * (request.num_frames or 1)
    is_small = model.card.params_b < SMALL_PARAMS_B and num_pixels <= SMALL_CLIP_PIXELS
    return 1 if is_small and model.device.type == "cpu" else torch.get_num_threads()
