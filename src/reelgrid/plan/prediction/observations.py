"""Measured generations as facts: published latencies, on which stack of GPU and software."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reelgrid.errors import RequestError
from reelgrid.plan.facts import Count, Name, Positive, read_table
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
        kernel: Class of the attention kernel; `None` if unknown.
        software: Serving software, such as `xdit`; `None` if unknown.
        offload: `once` where the parts of the model are loaded to the GPU one after the other,
            `steps` where weights are read from the host's memory at every step, or empty.
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
        wh: Energy of all GPUs for the batch; `None` where it was not measured.
        group: Observations of one group share an effect of their model and source.
        held_out: In which test set it was before it was fitted to: `check`, `first seal`, or empty.
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
        """Who measured: the first word of the source; all files of a project count as one source."""
        return self.source.split(" ", 1)[0]


def kernel_class(kernel: str | None) -> KernelClass | None:
    """Return the class of an attention kernel by its name; `None` for `None`.

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
        hardware: GPUs that rows may name; by default the package's.
        architectures: Models that rows may name; by default the package's.

    Raises:
        RequestError: A file has an unknown column, or a cell has a wrong value.
    """
    gpus = read_hardware() if hardware is None else hardware
    rows = read_table(_LatencyRow, "latencies.csv", extra).values()
    return tuple(row.observation(gpus, architectures) for row in rows)


def read_ml_energy() -> tuple[Observation, ...]:
    """Return the 483 public measurements of ML.ENERGY on H100s: latency and energy of batches."""
    hardware = read_hardware()
    rows = read_table(_MlEnergyRow, "ml_energy_h100.csv").values()
    return tuple(row.observation(hardware) for row in rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class _LatencyRow:
    """A row of `latencies.csv`: one published latency, or that of the `forwards` alone."""

    name: Name
    model: Name
    gpu: Name
    num_gpus: Count
    size: Size
    frames: Count
    forwards: Count
    seconds: Positive
    kernel: str | None = None
    software: str | None = None
    offload: Offload = ""
    source: str = ""
    note: str = ""
    date: str = ""
    held_out: str = ""

    def observation(
        self, hardware: Mapping[str, Gpu], architectures: Mapping[str, Architecture] | None
    ) -> Observation:
        """Return the row with its GPU and model looked up."""
        model = find_architecture(self.model, architectures)
        return Observation(
            name=self.name,
            workload=_workload(model, self.size, self.frames, self.forwards),
            stack=Stack(
                gpu=find_gpu(self.gpu, hardware),
                num_gpus=self.num_gpus,
                kernel=kernel_class(self.kernel),
                software=self.software,
                offload=self.offload,
            ),
            seconds=self.seconds,
            is_whole="s/step" not in self.note and "without codec" not in self.note,
            source=self.source,
            note=self.note,
            date=self.date,
            group=f"{ML_ENERGY} {model.name}" if self.source.startswith(ML_ENERGY) else None,
            held_out=self.held_out,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _MlEnergyRow:
    """A row of `ml_energy_h100.csv`: latency and energy of one batch."""

    name: Name
    model: Name
    gpu: Name
    num_gpus: Count
    ulysses: Count
    ring: Count
    batch: Count
    size: Size
    frames: Count
    steps: Count
    batch_latency_s: Positive
    wh_per_item: Positive
    avg_total_w: Positive
    source: str
    date: str

    def observation(self, hardware: Mapping[str, Gpu]) -> Observation:
        """Return the row with its GPU and model looked up."""
        model = find_architecture(self.model)
        forwards = self.steps * model.forwards_per_step
        return Observation(
            name=self.name,
            workload=_workload(model, self.size, self.frames, forwards, self.batch),
            stack=Stack(
                gpu=find_gpu(self.gpu, hardware),
                num_gpus=self.num_gpus,
                kernel="portable",
                software="xdit",
            ),
            seconds=self.batch_latency_s,
            is_whole=True,
            source=self.source,
            note=f"xDiT, Ulysses {self.ulysses}, ring {self.ring}, batch {self.batch}",
            date=self.date,
            wh=self.wh_per_item * self.batch,
            group=f"{ML_ENERGY} {model.name}",
        )


def _workload(
    model: Architecture, size: Size, num_frames: int, forwards: int, batch: int = 1
) -> Workload:
    """Return a workload; `forwards` that are no whole number of steps count as one per step."""
    per_step = model.forwards_per_step if forwards % model.forwards_per_step == 0 else 1
    return Workload(
        model=model,
        size=size,
        num_frames=num_frames,
        num_steps=forwards // per_step,
        forwards_per_step=per_step,
        fps=model.fps,
        num_images=batch,
    )
