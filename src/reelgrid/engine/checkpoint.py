"""A saved generation as one file: safetensors, with everything else as JSON in its header.

Never pickle. A file is written whole or not at all, and read whole or refused: the header carries
a SHA-256 over itself and all tensors, the model's fingerprint and the software it was made with.
"""

import hashlib
import json
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from reelgrid.engine.snapshot import Tensors
from reelgrid.errors import CheckpointError
from reelgrid.spec import CompleteRequest
from reelgrid.store import atomic_write
from reelgrid.version import __version__

FORMAT = "reelgrid-generation-1"

_HEADER_KEY = "reelgrid"


@dataclass(frozen=True)
class Checkpoint:
    """What a state file holds.

    Attributes:
        model: Name that the model was loaded by.
        fingerprint: Of the model's configuration and weights.
        software: What has to be equal for equal bits, by name.
        request: The request, complete.
        position: Where the generation stands, as plain JSON.
        trees: Values in the JSON form of `snapshot`, by what they belong to.
        tensors: The tensors that the trees name.
    """

    model: str
    fingerprint: str
    software: dict[str, str]
    request: CompleteRequest
    position: dict[str, Any]
    trees: dict[str, Any]
    tensors: Tensors


def write_checkpoint(path: Path, saved: Checkpoint) -> None:
    """Write the file whole: a reader finds the old one or the new one, never a part."""
    header = {
        "format": FORMAT,
        "model": saved.model,
        "fingerprint": saved.fingerprint,
        "software": saved.software,
        "request": saved.request.to_json(),
        "position": saved.position,
        "trees": saved.trees,
    }
    header["checksum"] = _checksum(header, saved.tensors)
    with atomic_write(path) as temporary:
        save_file(saved.tensors, temporary, metadata={_HEADER_KEY: json.dumps(header)})


def read_checkpoint(path: Path) -> Checkpoint:
    """Return what the file holds, checked against its own checksum.

    Raises:
        CheckpointError: The file is missing, truncated, foreign or was changed.
    """
    header = _read_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {_first_line(error)}") from None
    if header.pop("checksum", None) != _checksum(header, tensors):
        raise CheckpointError(
            f"{path} was changed after it was written: its checksum does not match"
        )
    return Checkpoint(
        model=header["model"],
        fingerprint=header["fingerprint"],
        software=header["software"],
        request=CompleteRequest.from_json(header["request"]),
        position=header["position"],
        trees=header["trees"],
        tensors=tensors,
    )


def read_request(path: Path) -> tuple[str, CompleteRequest]:
    """Return the model's name and the request of a saved generation, without its tensors.

    Raises:
        CheckpointError: The file is missing, truncated or foreign.
    """
    header = _read_header(path)
    try:
        return str(header["model"]), CompleteRequest.from_json(header["request"])
    except (KeyError, TypeError, AttributeError):
        raise CheckpointError(f"{path} is not a saved generation: it names no request") from None


def check_compatible(
    saved: Checkpoint, path: Path, fingerprint: str, software: Mapping[str, str]
) -> None:
    """Refuse a state that this model or this software would not finish bit for bit.

    Raises:
        CheckpointError: The model or a part of the software differs; the message names what.
    """
    if saved.fingerprint != fingerprint:
        raise CheckpointError(
            f"{path} was made by other weights or settings of {saved.model}: load the model it was "
            f"made with (fingerprint {saved.fingerprint[:12]}, this one is {fingerprint[:12]})"
        )
    for name, here in software.items():
        there = saved.software.get(name)
        if there != here:
            raise CheckpointError(
                f"{path} was made with {name} {there}, here is {here}: "
                "go on where that is installed, or start again"
            )


@cache
def current_software(device: torch.device, dtype: torch.dtype) -> Mapping[str, str]:
    """Return what has to be equal for a generation to go on with equal bits."""
    return {
        "reelgrid": __version__,
        "torch": torch.__version__,
        "diffusers": version("diffusers"),
        "device": device_class(device),
        "precision": str(dtype).removeprefix("torch."),
    }


def device_class(device: torch.device) -> str:
    """Return the kind of device, the same for all that round alike."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"cpu {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return device.type


def _read_header(path: Path) -> dict[str, Any]:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise CheckpointError(f"{path} {what}: give the file of a saved generation")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_HEADER_KEY)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is truncated or no saved generation: {_first_line(error)}"
        ) from None
    header = _parse(text)
    if header is None:
        raise CheckpointError(f"{path} is a safetensors file, but not a saved generation")
    if header.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {header.get('format')}, this reelgrid reads {FORMAT}"
        )
    return header


def _parse(text: str | None) -> dict[str, Any] | None:
    try:
        header = json.loads(text or "")
    except ValueError:
        return None
    return header if isinstance(header, dict) else None


def _checksum(header: Mapping[str, Any], tensors: Tensors) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _first_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error).strip())[:200]
