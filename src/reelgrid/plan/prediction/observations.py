"""Published latencies as facts: what somebody measured, on what, with which software.

Not here: a user's own measurements (`measurement`), and the fit to these (`fit`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reelgrid.errors import RequestError
from reelgrid.plan import facts
from reelgrid.plan.facts.architectures import Architecture, find_architecture
from reelgrid.plan.facts.hardware import Gpu, find_gpu, read_hardware
from reelgrid.plan.prediction.workload import Workload
from reelgrid.spec import Size

KernelClass = Literal["portable", "native", "low-bit"]

Offload = Literal["", "once", "steps"]

KERNELS: dict[str, KernelClass] = {
    "sdpa": "portable",
    "fa2": "portable",
    "portable": "portable",
    "fa3": "native",
    "fa4": "native",
    "cudnn": "native",
    "native": "native",
    "sage": "low-bit",
    "low-bit": "low-bit",
}
"""Attention kernels by name. A portable one is written for Ampere and runs everywhere; a native one
is written for the GPU's own matrix instructions (Hopper, data-centre Blackwell; elsewhere it is the
portable one); a low-bit one multiplies in 8 or 4 bits (SageAttention, arXiv:2410.02367)."""

ML_ENERGY = "ml-energy/leaderboard"
"""How the sources of the public ML.ENERGY measurements begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """On what and with which software a generation runs.

    Attributes:
        gpu: The kind of GPU.
        num_gpus: GPUs that work on one generation together.
        kernel: Class of the attention kernel; none if unknown.
        software: Serving software, such as `xdit`; none if unknown.
        offload: `once` where parts of the model take turns on the GPU within a generation, `steps`
            where weights are read from the host's memory at every step, or nothing.
    """

    gpu: Gpu
    num_gpus: int = 1
    kernel: KernelClass | None = None
    software: str | None = None
    offload: Offload = ""

    def __post_init__(self) -> None:
        if not 1 <= self.num_gpus <= 1_024:
            raise RequestError(
                f"{self.num_gpus} GPUs are out of range: 1 to 1,024", param="num_gpus"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One measured generation, or one measured step of it.

    Attributes:
        seconds: From prompt to frames of the whole batch, or for the forwards alone.
        is_whole: Whether text encoder and decoder are in `seconds`.
        wh: Energy of all GPUs for the batch; none where it was not measured.
        group: Observations of one group share what is particular to their model and source.
        held_out: As what it was once predicted before anything was fitted to it: `check`, `first
            seal`, or nothing.
    """

    name: str
    workload: Workload
    stack: Stack
    seconds: float
    is_whole: bool
    source: str
    note: str
    date: str
    wh: float | None = None
    group: str | None = None
    held_out: str = ""

    @property
    def source_name(self) -> str:
        """Who measured: the first word of the source, so that a project counts as one."""
        return self.source.split(" ", 1)[0]


def kernel_class(kernel: str | None) -> KernelClass | None:
    """Return the class of an attention kernel by its name; none for none.

    Raises:
        RequestError: The name is unknown.
    """
    if kernel is None:
        return None
    if kernel.lower() not in KERNELS:
        raise RequestError(f"no kernel is called {kernel!r}: {', '.join(KERNELS)}", param="kernel")
    return KERNELS[kernel.lower()]


def read_latencies(
    extra: Sequence[Path] = (),
    hardware: Mapping[str, Gpu] | None = None,
    architectures: Mapping[str, Architecture] | None = None,
) -> tuple[Observation, ...]:
    """Return the published latencies of the package, overridden by rows of the user's files.

    Args:
        extra: CSV files with columns of `plan/facts/latencies.csv`.
        hardware: GPUs that rows may name; the package's where none are given.
        architectures: Models that rows may name; likewise.

    Raises:
        RequestError: A file has an unknown column or a cell that cannot be.
    """
    gpus = read_hardware() if hardware is None else hardware
    table = facts.read_table("latencies.csv", extra)
    return tuple(
        _latency(row, find_gpu(row["gpu"], gpus), find_architecture(row["model"], architectures))
        for row in table.values()
    )


def read_ml_energy() -> tuple[Observation, ...]:
    """Return the 483 public measurements of ML.ENERGY on H100s: latency and energy of batches."""
    hardware = read_hardware()
    table = facts.read_table("ml_energy_h100.csv")
    return tuple(_batch(row, find_gpu(row["gpu"], hardware)) for row in table.values())


def _latency(row: facts.Row, gpu: Gpu, model: Architecture) -> Observation:
    where = f"latency {row['name']}"
    forwards = int(facts.needed(row, "forwards", where))
    return Observation(
        name=row["name"],
        workload=_workload(model, row, forwards, where),
        stack=Stack(
            gpu=gpu,
            num_gpus=int(facts.needed(row, "num_gpus", where)),
            kernel=kernel_class(row["kernel"] or None),
            software=row["software"] or None,
            offload=_offload(row, where),
        ),
        seconds=facts.needed(row, "seconds", where),
        is_whole="s/step" not in row["note"] and "without codec" not in row["note"],
        source=row["source"],
        note=row["note"],
        date=row["date"],
        group=f"{ML_ENERGY} {model.name}" if row["source"].startswith(ML_ENERGY) else None,
        held_out=row["held_out"],
    )


def _offload(row: facts.Row, where: str) -> Offload:
    """Return how weights were kept.

    Raises:
        RequestError: The cell holds something else.
    """
    match row["offload"]:
        case "":
            return ""
        case "once":
            return "once"
        case "steps":
            return "steps"
    raise RequestError(f"{where}: offload is {row['offload']!r}, expected once, steps or nothing")


def _batch(row: facts.Row, gpu: Gpu) -> Observation:
    where = f"measurement {row['name']}"
    model = find_architecture(row["model"])
    batch = int(facts.needed(row, "batch", where))
    forwards = int(facts.needed(row, "steps", where)) * model.forwards_per_step
    return Observation(
        name=row["name"],
        workload=_workload(model, row, forwards, where, batch),
        stack=Stack(
            gpu=gpu,
            num_gpus=int(facts.needed(row, "num_gpus", where)),
            kernel="portable",
            software="xdit",
        ),
        seconds=facts.needed(row, "batch_latency_s", where),
        is_whole=True,
        source=row["source"],
        note=f"xDiT, Ulysses {row['ulysses']}, ring {row['ring']}, batch {batch}",
        date=row["date"],
        wh=facts.needed(row, "wh_per_item", where) * batch,
        group=f"{ML_ENERGY} {model.name}",
    )


def _workload(
    model: Architecture, row: facts.Row, forwards: int, where: str, batch: int = 1
) -> Workload:
    """Return the workload of a row; `forwards` that are no whole steps count one a step."""
    per_step = model.forwards_per_step if forwards % model.forwards_per_step == 0 else 1
    return Workload(
        model=model,
        size=Size.parse(row["size"]),
        num_frames=int(facts.needed(row, "frames", where)),
        num_steps=forwards // per_step,
        forwards_per_step=per_step,
        fps=model.fps,
        num_images=batch,
    )
