"""GPUs as facts: rates, memory, power and prices, by name.

Not here: how much of its peak a GPU reaches (`calibration`), and what can be leased (`offer`).
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reelgrid.errors import RequestError
from reelgrid.plan import facts

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
        bf16_dense_tflops: Matrix rate without sparsity, 32-bit accumulation; none without bf16.
        fp16_dense_tflops: Likewise in fp16.
        fp8_dense_tflops: Likewise in fp8; none without fp8.
        best_measured_matmul_tflops: The best bf16 matrix product that somebody measured.
        memory_gb: Device memory as sold.
        bandwidth_gb_per_s: Of the device memory.
        link_gb_per_s: To the other GPUs of a machine, one way: NVLink, Infinity Fabric or PCIe.
        tdp_w: Power limit of the board.
        usd_per_h_low: The lowest public price of an hour; none where none was found.
        usd_per_h_high: The highest.
        price_note: Who asks which price.
        source: Where the rates are from.
        date: When the row was written down, year and month.
        twin: Another row with the same matrix rates, of which what was measured holds here too.
    """

    name: str
    vendor: str
    kind: str
    generation: str
    bf16_dense_tflops: float | None
    fp16_dense_tflops: float
    fp8_dense_tflops: float | None
    best_measured_matmul_tflops: float | None
    memory_gb: float
    bandwidth_gb_per_s: float
    link_gb_per_s: float
    tdp_w: float
    usd_per_h_low: float | None
    usd_per_h_high: float | None
    price_note: str
    aliases: tuple[str, ...]
    source: str
    date: str
    twin: str = ""

    @property
    def chip(self) -> str:
        """The GPU whose effect it shares: its twin, or itself."""
        return self.twin or self.name

    @property
    def dense_tflops(self) -> float:
        """The 16-bit matrix rate that models run at: bf16, or fp16 where there is no bf16."""
        return self.bf16_dense_tflops or self.fp16_dense_tflops

    @property
    def usd_per_h(self) -> float | None:
        """A price between the lowest and the highest: their geometric mean."""
        if self.usd_per_h_low is None or self.usd_per_h_high is None:
            return None
        return float((self.usd_per_h_low * self.usd_per_h_high) ** 0.5)


def read_hardware(extra: Sequence[Path] = ()) -> dict[str, Gpu]:
    """Return all GPUs by name: those of the package, overridden by rows of the user's files.

    Args:
        extra: CSV files with columns of `plan/facts/gpus.csv`; later ones override earlier ones.

    Raises:
        RequestError: A file has an unknown column or a cell that cannot be.
    """
    return {name: _gpu(row) for name, row in facts.read_table("gpus.csv", extra).items()}


def find_gpu(name: str, hardware: Mapping[str, Gpu]) -> Gpu:
    """Return the GPU of a name, an alias, or the name that its driver gives it.

    Case, blanks and the maker's name do not matter: `h100`, `RTX 4090`, `NVIDIA L40S` are found; nor
    does the memory at the end, as in `H100 SXM5 80GB`, if the card has it.

    Raises:
        RequestError: There is none; the message names the most similar.
    """
    keys = {_key(each): gpu for gpu in hardware.values() for each in _names(gpu)}
    wanted = _key(name)
    found = keys.get(wanted) or _without_memory(name, keys)
    if found is not None:
        return found
    near = difflib.get_close_matches(wanted, keys, n=9, cutoff=0.5)[:4]
    near += [key for key in keys if wanted and wanted in key]
    similar = ", ".join(dict.fromkeys(keys[key].name for key in near)) or "none"
    raise RequestError(
        f"no GPU is called {name!r}; similar: {similar}; all: reelgrid plan hardware", param="gpu"
    )


def _without_memory(name: str, keys: Mapping[str, Gpu]) -> Gpu | None:
    """Return the GPU whose name comes before a memory that it has; none if there is none."""
    memory = _MEMORY.search(name.strip())
    gpu = keys.get(_key(name.strip()[: memory.start()])) if memory else None
    if memory is None or gpu is None:
        return None
    is_its = abs(int(memory[1]) - gpu.memory_gb) <= _SOLD_AS * gpu.memory_gb
    return gpu if is_its else None


def _names(gpu: Gpu) -> tuple[str, ...]:
    return (gpu.name, *gpu.aliases)


def _key(name: str) -> str:
    return _FILLERS.sub("", name.lower()).removeprefix("rtx").removeprefix("rx")


def _gpu(row: facts.Row) -> Gpu:
    """Return the GPU that a row describes.

    Raises:
        RequestError: A cell is missing or cannot be.
    """
    where = f"GPU {row['name']}"
    low = facts.number(row, "usd_per_h_low", where)
    high = facts.number(row, "usd_per_h_high", where)
    if (low is None) != (high is None) or (low and high and low > high):
        raise RequestError(f"{where}: prices are two, the lowest and the highest, or none")
    for column in ("vendor", "kind", "generation"):
        if not row[column]:
            raise RequestError(f"{where}: {column} is empty")
    return Gpu(
        name=row["name"],
        vendor=row["vendor"],
        kind=row["kind"],
        generation=row["generation"],
        bf16_dense_tflops=facts.number(row, "bf16_dense_tflops", where),
        fp16_dense_tflops=facts.needed(row, "fp16_dense_tflops", where),
        fp8_dense_tflops=facts.number(row, "fp8_dense_tflops", where),
        best_measured_matmul_tflops=facts.number(row, "best_measured_matmul_tflops", where),
        memory_gb=facts.needed(row, "memory_gb", where),
        bandwidth_gb_per_s=facts.needed(row, "bandwidth_gb_per_s", where),
        link_gb_per_s=facts.needed(row, "link_gb_per_s", where),
        tdp_w=facts.needed(row, "tdp_w", where),
        usd_per_h_low=low,
        usd_per_h_high=high,
        price_note=row["price_note"],
        aliases=tuple(alias for alias in row["aliases"].split("|") if alias),
        source=row["source"],
        date=row["date"],
        twin=row["twin"],
    )
