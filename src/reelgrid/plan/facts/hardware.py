"""GPUs as facts: rates, memory, power and prices, by name."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reelgrid.errors import RequestError
from reelgrid.plan.facts import Name, Names, Positive, read_table
from reelgrid.user_files.checking import FieldError

_FILLERS = re.compile(r"nvidia|geforce|amd|instinct|radeon|tesla|generation|oam|[^a-z0-9]")
_MEMORY = re.compile(r"[\s_-](\d+)\s?gb(\s*hbm\de?)?$", re.IGNORECASE)
_SOLD_AS = 0.06  # 94 and 96 GB, or 141 and 144, are one card


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One kind of GPU.

    Attributes:
        name: Its name in the table, such as `H100 SXM`.
        vendor: `nvidia` or `amd`.
        kind: `datacentre`, `workstation` or `consumer`.
        generation: What it shares its kernels with, such as `hopper` or `ada-geforce`.
        bf16_dense_tflops: Matrix rate without sparsity, 32-bit accumulation; `None` without bf16.
        fp16_dense_tflops: The same in fp16.
        fp8_dense_tflops: The same in fp8; `None` without fp8.
        best_measured_matmul_tflops: The best bf16 matrix product that somebody measured.
        memory_gb: Device memory as sold.
        bandwidth_gb_per_s: Of the device memory.
        link_gb_per_s: To the other GPUs of a machine, one way: NVLink, Infinity Fabric or PCIe.
        tdp_w: Power limit of the board.
        usd_per_h_low: The lowest public price of an hour; `None` where none was found.
        usd_per_h_high: The highest.
        price_note: Who asks which price.
        source: Where the rates are from.
        date: When the row was written down, year and month.
        same_rates_as: Another row with the same matrix rates: what was fitted to it holds here too.
    """

    name: Name
    vendor: Name
    kind: Name
    generation: Name
    bf16_dense_tflops: Positive | None = None
    fp16_dense_tflops: Positive
    fp8_dense_tflops: Positive | None = None
    best_measured_matmul_tflops: Positive | None = None
    memory_gb: Positive
    bandwidth_gb_per_s: Positive
    link_gb_per_s: Positive
    tdp_w: Positive
    usd_per_h_low: Positive | None = None
    usd_per_h_high: Positive | None = None
    price_note: str = ""
    aliases: Names = ()
    source: str = ""
    date: str = ""
    same_rates_as: str = ""

    def __post_init__(self) -> None:
        low, high = self.usd_per_h_low, self.usd_per_h_high
        if (low is None) != (high is None) or (low and high and low > high):
            raise FieldError(
                "expected two prices, the lowest and the highest, or none", param="usd_per_h_low"
            )

    @property
    def fitted_as(self) -> str:
        """Name of the GPU whose fitted coefficient holds: `same_rates_as`, or its own name."""
        return self.same_rates_as or self.name

    @property
    def dense_tflops(self) -> float:
        """16-bit matrix rate that models run at: bf16, or fp16 where there is no bf16."""
        return self.bf16_dense_tflops or self.fp16_dense_tflops

    @property
    def usd_per_h(self) -> float | None:
        """Geometric mean of the lowest and the highest price; `None` where there is none."""
        if self.usd_per_h_low is None or self.usd_per_h_high is None:
            return None
        return float((self.usd_per_h_low * self.usd_per_h_high) ** 0.5)


def read_hardware(extra: Sequence[Path] = ()) -> dict[str, Gpu]:
    """Return all GPUs by name: those of the package, overridden by rows of the user's files.

    Args:
        extra: CSV files with columns of `plan/facts/gpus.csv`; later ones override earlier ones.

    Raises:
        RequestError: A file has an unknown column, or a cell has a wrong value.
    """
    return read_table(Gpu, "gpus.csv", extra)


def find_gpu(name: str, hardware: Mapping[str, Gpu]) -> Gpu:
    """Return the GPU of a name, an alias, or the name that its driver gives it.

    Case, blanks and the vendor's name do not matter: `h100`, `RTX 4090`, `NVIDIA L40S` are found. A
    memory size at the end, as in `H100 SXM5 80GB`, has to be that of the card.

    Raises:
        RequestError: There is none; the message names the most similar.
    """
    keys = {_key(each): gpu for gpu in hardware.values() for each in _names(gpu)}
    key = _key(name)
    found = keys.get(key) or _without_memory(name, keys)
    if found is not None:
        return found
    near = difflib.get_close_matches(key, keys, n=9, cutoff=0.5)[:4]
    near += [other for other in keys if key and key in other]
    similar = ", ".join(dict.fromkeys(keys[each].name for each in near)) or "none"
    raise RequestError(
        f"no GPU is called {name!r}; similar: {similar}; all: reelgrid plan hardware", param="gpu"
    )


def _without_memory(name: str, keys: Mapping[str, Gpu]) -> Gpu | None:
    """Return the GPU whose name stands before a memory size that it has, or `None`."""
    memory = _MEMORY.search(name.strip())
    gpu = keys.get(_key(name.strip()[: memory.start()])) if memory else None
    if memory is None or gpu is None:
        return None
    has_it = abs(int(memory[1]) - gpu.memory_gb) <= _SOLD_AS * gpu.memory_gb
    return gpu if has_it else None


def _names(gpu: Gpu) -> tuple[str, ...]:
    return (gpu.name, *gpu.aliases)


def _key(name: str) -> str:
    return _FILLERS.sub("", name.lower()).removeprefix("rtx").removeprefix("rx")
