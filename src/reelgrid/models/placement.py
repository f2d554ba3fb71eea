"""Choose device and precision of a model, and whether its weights fit the free memory."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from reelgrid.errors import ModelError, ModelMemoryError, RequestError
from reelgrid.units import GIB

GROUP_OFFLOAD = "group"
WORKING_SHARE = 1.25  # weights and activations over weights: a rule of thumb
OFFLOAD_GPU_BYTES = 4 * GIB  # activations at a usual size, with the weights of one layer

_CGROUP = Path("/sys/fs/cgroup")

PRECISIONS = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
}


@dataclass(frozen=True, slots=True)
class FreeMemory:
    """Free memory of a device and of its host, in bytes; no GPU bytes on a CPU."""

    device: torch.device
    gpu_free_bytes: int | None
    host_free_bytes: int


def choose_device(name: str) -> torch.device:
    """Return the device of that name, or the fastest one for `auto`.

    Raises:
        RequestError: There is no such device here.
    """
    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    if torch.cuda.is_available():
        available.insert(0, "cuda")
    if name == "auto":
        return torch.device(available[0])
    kind, _, index = name.partition(":")
    if kind not in available or not _has_index(kind, index):
        raise RequestError(
            f"no device {name!r} here: {', '.join(available)} or auto", param="device"
        )
    return torch.device(name)


def choose_dtype(name: str, device: torch.device, *, is_small: bool) -> torch.dtype:
    """Return the precision of that name, or for `auto` the fastest on this device.

    A small model uses bfloat16 on processors with instructions for it: measured on an AMD EPYC of
    2024 with torch 2.13, its linear layers run at 430 GFLOP/s, and at 90 in float32.

    Raises:
        RequestError: There is no such precision.
    """
    if name != "auto":
        if name not in PRECISIONS:
            raise RequestError(
                f"no precision {name!r}: {', '.join(PRECISIONS)} or auto", param="dtype"
            )
        return PRECISIONS[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "mps":
        return torch.float16
    return torch.bfloat16 if is_small and multiplies_bfloat16() else torch.float32


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for products of bfloat16 matrices."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def free_memory(device: torch.device) -> FreeMemory:
    """Return the memory that is free now on a device and its host."""
    gpu_free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
    return FreeMemory(device, gpu_free, _host_free_bytes())


def disk_free_bytes(folder: Path) -> int:
    """Return the free disk space where `folder` is or would be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _has_index(kind: str, index: str) -> bool:
    if not index:
        return True
    return index.isdecimal() and kind == "cuda" and int(index) < torch.cuda.device_count()


def _host_free_bytes() -> int:
    free = int(psutil.virtual_memory().available)
    limit, used = _read_number("memory.max"), _read_number("memory.current")
    return free if limit is None or used is None else min(free, limit - used)


def _read_number(name: str) -> int | None:
    """Return a number of this process's control group, or `None` where it has no limit."""
    try:
        text = (_CGROUP / name).read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def plan_offload(name: str, weight_bytes: int, free: FreeMemory) -> str | None:
    """Return `group` when the weights fit only the host's memory, `None` when they fit the device.

    Raises:
        ModelMemoryError: They fit neither; the message gives the sizes.
    """
    need = int(weight_bytes * WORKING_SHARE)
    if free.gpu_free_bytes is None:
        if need > free.host_free_bytes:
            raise ModelMemoryError(
                f"{name} needs {gib(need)} of memory, {gib(free.host_free_bytes)} is free: "
                "choose a smaller model or a machine with more"
            )
        return None
    if need <= free.gpu_free_bytes:
        return None
    if weight_bytes <= free.host_free_bytes and free.gpu_free_bytes >= OFFLOAD_GPU_BYTES:
        return GROUP_OFFLOAD
    raise ModelMemoryError(
        f"{name} needs {gib(need)} of GPU memory, {gib(free.gpu_free_bytes)} is free; "
        f"offloading its layers needs {gib(weight_bytes)} of main memory, "
        f"{gib(free.host_free_bytes)} is free, and {gib(OFFLOAD_GPU_BYTES)} of GPU memory: "
        "choose a smaller model"
    )


def check_disk(name: str, download_bytes: int, free_bytes: int) -> None:
    """Refuse a download that the disk cannot hold.

    Raises:
        ModelError: There is too little space.
    """
    if download_bytes > free_bytes:
        raise ModelError(
            f"{name} is a download of {gib(download_bytes)}, {gib(free_bytes)} of disk is free: "
            "free disk space, or set HF_HOME to a larger disk"
        )


def gib(num_bytes: int) -> str:
    """Return bytes as text in GiB."""
    return f"{num_bytes / GIB:.1f} GiB"
