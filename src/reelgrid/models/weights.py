"""What weight files hold, read from their headers: sizes, and whether they are whole."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from reelgrid.errors import ModelError

MODULAR_INDEX = "modular_model_index.json"
INDEX_NAMES = (MODULAR_INDEX, "model_index.json")

_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000
_VARIANT = re.compile(r"\.(fp16|bf16|fp32|ema|non_ema)[.-]")


def is_wanted(file: str) -> bool:
    """Whether a pipeline's file, by its path in the folder, is one that loading reads."""
    path = Path(file)
    if len(path.parts) == 1:
        return file in INDEX_NAMES
    if len(path.parts) > 2 or _VARIANT.search(path.name):
        return False
    return path.suffix in {".safetensors", ".json", ".txt", ".model", ".jinja"}


def weight_files(folder: Path) -> list[Path]:
    """Return the weight files that loading reads from a pipeline's folder."""
    files = folder.glob("*/*.safetensors")
    return sorted(file for file in files if is_wanted(str(file.relative_to(folder))))


def num_parameters(files: Iterable[Path]) -> int:
    """Return how many numbers the files hold together.

    Raises:
        ModelError: A file is truncated or no safetensors file.
    """
    return sum(_numbers_in(file) for file in files)


def _numbers_in(file: Path) -> int:
    with file.open("rb") as handle:
        length = int.from_bytes(handle.read(_LENGTH_BYTES), "little")
        text = handle.read(length) if length <= _MAX_HEADER_BYTES else b""
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        sizes = [entry["shape"] for entry in header.values()]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise ModelError(f"{file} is no safetensors file: fetch it again") from None
    whole, there = _LENGTH_BYTES + length + end, file.stat().st_size
    if there != whole:
        raise ModelError(f"{file} has {there:,} of {whole:,} bytes: fetch it again")
    return sum(_product(shape) for shape in sizes)


def _product(shape: Iterable[int]) -> int:
    total = 1
    for side in shape:
        total *= side
    return total
