"""How much memory was in use at most, and giving it back.

The random numbers of one generation, apart from everybody else's.

Not the initial noise alone: a solver or block that draws from torch's global generators draws from
this generation's own stream, so that two generations may take turns and a seed means one clip.

How many threads the processor's kernels share their work among.
"""

import gc
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from reelgrid.models.loading import LoadedModel
from reelgrid.spec import CompleteRequest

GIB = 2**30


def start_watching(device: torch.device) -> None:
    """Measure the GPU's peak from here on; a process's own peak cannot be set back."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_gib(device: torch.device) -> float:
    """Return the most memory in use since `start_watching`: the GPU's, or the process's in all."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / GIB


def wait_for(device: torch.device) -> None:
    """Return when the device has done what it was given, so that times are true."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def is_short(error: BaseException) -> bool:
    """Whether an error says that memory ran out; on a CPU torch has no class of its own for it."""
    words = str(error)
    return (
        isinstance(error, torch.OutOfMemoryError | MemoryError)
        or "DefaultCPUAllocator" in words
        or "MPS backend out of memory" in words
    )


def release(device: torch.device) -> None:
    """Give memory that nobody uses back to the device."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


class RandomStream:
    """A seeded stream for torch's global generators, put in place only while it is used."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self._seed = seed
        self._cuda_index = (
            torch.cuda._utils._get_device_index(device, optional=True)
            if (device.type == "cuda")
            else None
        )
        self._states: list[torch.Tensor] | None = None

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Draw from this stream inside the block; the world's generators stay as they were."""
        cuda = [] if self._cuda_index is None else [self._cuda_index]
        with torch.random.fork_rng(devices=cuda):
            self._install()
            yield
            self._states = [torch.get_rng_state(), *(torch.cuda.get_rng_state(i) for i in cuda)]

    def fields(self) -> dict[str, Any]:
        """Return what `restore` needs to go on in the stream."""
        return {"seed": self._seed, "states": self._states}

    def restore(self, fields: dict[str, Any]) -> None:
        """Go on where `fields` were taken; a device that had no stream then starts a new one."""
        self._seed, self._states = fields["seed"], fields["states"]

    def _install(self) -> None:
        if self._states is None:
            torch.manual_seed(self._seed)
            return
        torch.set_rng_state(self._states[0])
        if self._cuda_index is not None and len(self._states) > 1:
            torch.cuda.set_rng_state(self._states[1], self._cuda_index)


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


def choose_num_threads(model: LoadedModel, request: CompleteRequest) -> int:
    """Return how many threads a generation is worth: one for a small clip of a small model.

    Its products are too small to share. On two quiet cores the embedded model took 0.13 s with one
    thread and 0.23 s with two that sleep while they wait (docs/log.md); two that spin took 0.10 s,
    and 1.8 s beside other work.
    """
    num_pixels = request.size.width * request.size.height * (request.num_frames or 1)
    is_small = model.card.params_b < SMALL_PARAMS_B and num_pixels <= SMALL_CLIP_PIXELS
    return 1 if is_small and model.device.type == "cpu" else torch.get_num_threads()
