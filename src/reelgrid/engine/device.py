"""What a generation sets on its device: peak memory, random numbers, processor threads.

Linux and macOS only, like all of Reelgrid.
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
from reelgrid.units import GIB

SMALL_PARAMS_B = 0.1
SMALL_CLIP_PIXELS = 2**20


def reset_peak_memory(device: torch.device) -> None:
    """Measure the GPU's peak memory from here on; that of a process cannot be reset."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_gib(device: torch.device) -> float:
    """Return the GPU's peak memory since `reset_peak_memory`, or the whole process's on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / GIB


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its queued work, so that measured times are true."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means out of memory; on a CPU torch has no class of its own for it."""
    message = str(error)
    return (
        isinstance(error, torch.OutOfMemoryError | MemoryError)
        or "DefaultCPUAllocator" in message
        or "MPS backend out of memory" in message
    )


def release_memory(device: torch.device) -> None:
    """Return unused memory to the GPU."""
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()


class RandomStream:
    """The random numbers of one generation, apart from those of everybody else.

    Not only the initial noise: a solver or block that draws from torch's global generators draws
    from this stream, so that several generations can alternate and a seed means one clip.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self._seed = seed
        self._cuda_index = (
            torch.cuda._utils._get_device_index(device, optional=True)
            if device.type == "cuda"
            else None
        )
        self._states: list[torch.Tensor] | None = None

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let torch's global generators draw from this stream; afterwards they are as before."""
        cuda = [] if self._cuda_index is None else [self._cuda_index]
        with torch.random.fork_rng(devices=cuda):
            self._install()
            yield
            self._states = [torch.get_rng_state(), *(torch.cuda.get_rng_state(i) for i in cuda)]

    def fields(self) -> dict[str, Any]:
        """Return what `restore` needs to continue the stream."""
        return {"seed": self._seed, "states": self._states}

    def restore(self, fields: dict[str, Any]) -> None:
        """Continue the stream from `fields`; a device that had no stream then starts a new one."""
        self._seed, self._states = fields["seed"], fields["states"]

    def _install(self) -> None:
        if self._states is None:
            torch.manual_seed(self._seed)
            return
        torch.set_rng_state(self._states[0])
        if self._cuda_index is not None and len(self._states) > 1:
            torch.cuda.set_rng_state(self._states[1], self._cuda_index)


@contextmanager
def use_threads(num_threads: int) -> Iterator[None]:
    """Compute with `num_threads` processor threads inside the block.

    A sum that is split over another number of threads rounds differently (seen in float32), so a
    restored generation continues with as many as it started with.
    """
    before = torch.get_num_threads()
    if num_threads != before:
        torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        if num_threads != before:
            torch.set_num_threads(before)


def choose_num_threads(model: LoadedModel, request: CompleteRequest) -> int:
    """Return how many processor threads to use: one for a small clip of a small model.

    Its matrix products are too small to split. On two idle cores the embedded model took 0.13 s
    with one thread and 0.23 s with two that sleep while they wait (docs/log.md); two that spin took
    0.10 s, and 1.8 s beside other work.
    """
    num_pixels = request.size.width * request.size.height * request.num_frames
    is_small = model.card.params_b < SMALL_PARAMS_B and num_pixels <= SMALL_CLIP_PIXELS
    return 1 if is_small and model.device.type == "cpu" else torch.get_num_threads()
