"""How much memory was in use at most, and giving it back."""

import gc
import resource
import sys

import torch

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
