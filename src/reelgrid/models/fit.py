"""Whether weights fit a machine, and how: pure arithmetic, before anything is loaded."""

from reelgrid.errors import ModelError, NoRoomError
from reelgrid.models.machine import Machine

GIB = 2**30
WORKING_SHARE = 1.25  # weights and what is computed with them, over weights: a rule of thumb
OFFLOAD_GPU_BYTES = 4 * GIB  # what is computed at a usual size, with one layer's weights
GROUP_OFFLOAD = "group"


def plan_offload(name: str, weight_bytes: int, machine: Machine) -> str | None:
    """Return `group` when the weights only fit the host and pass through the GPU, else none.

    Raises:
        NoRoomError: They cannot fit; the message gives the sizes.
    """
    need = int(weight_bytes * WORKING_SHARE)
    if machine.gpu_free_bytes is None:
        if need > machine.host_free_bytes:
            raise NoRoomError(
                f"{name} needs {gib(need)} of memory, {gib(machine.host_free_bytes)} is free: "
                "choose a smaller model or a machine with more"
            )
        return None
    if need <= machine.gpu_free_bytes:
        return None
    if weight_bytes <= machine.host_free_bytes and machine.gpu_free_bytes >= OFFLOAD_GPU_BYTES:
        return GROUP_OFFLOAD
    raise NoRoomError(
        f"{name} needs {gib(need)} of GPU memory, {gib(machine.gpu_free_bytes)} is free; moving "
        f"its layers in turn needs {gib(weight_bytes)} of main memory, "
        f"{gib(machine.host_free_bytes)} is free, and {gib(OFFLOAD_GPU_BYTES)} of GPU memory: "
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
            "make room, or set HF_HOME to a larger disk"
        )


def gib(num_bytes: int) -> str:
    """Return bytes as text in GiB."""
    return f"{num_bytes / GIB:.1f} GiB"
