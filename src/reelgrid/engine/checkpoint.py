"""The checkpoint of a generation as one safetensors file, with all else as JSON in its header.

Never pickle. A file is written atomically, and read whole or refused: the header holds a SHA-256
over itself and all tensors, the model's fingerprint and the versions of the software.
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
from reelgrid.store.atomic import atomic_write
from reelgrid.version import __version__

FORMAT = "reelgrid-checkpoint-2"

_HEADER_KEY = "reelgrid"


@dataclass(frozen=True)
class Checkpoint:
    """The saved state of a generation.

    Attributes:
        model: Name that the model was loaded by.
        fingerprint: SHA-256 of the model's configuration and weights.
        software: Versions, device and precision that have to be equal for equal bits.
        request: What is generated.
        position: The current stage and step, as plain JSON.
        trees: The pipeline's values in the JSON form of `snapshot`.
        tensors: The tensors that the trees name.
    """

    model: str
    fingerprint: str
    software: dict[str, str]
    request: CompleteRequest
    position: dict[str, Any]
    trees: dict[str, Any]
    tensors: Tensors


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically: a reader finds the old file or the new one, never a part."""
    header = {
        "format": FORMAT,
        "model": checkpoint.model,
        "fingerprint": checkpoint.fingerprint,
        "software": checkpoint.software,
        "request": checkpoint.request.to_json(),
        "position": checkpoint.position,
        "trees": checkpoint.trees,
    }
    header["checksum"] = _checksum(header, checkpoint.tensors)
    with atomic_write(path) as temporary:
        save_file(checkpoint.tensors, temporary, metadata={_HEADER_KEY: json.dumps(header)})


def read_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint in a file, checked against its checksum.

    Raises:
        CheckpointError: The file is missing, truncated, changed, or no checkpoint of this version.
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
    """Return the model's name and the request of a checkpoint, without reading its tensors.

    Raises:
        CheckpointError: The file is missing, truncated, or no checkpoint of this version.
    """
    header = _read_header(path)
    try:
        return str(header["model"]), CompleteRequest.from_json(header["request"])
    except (KeyError, TypeError, AttributeError):
        raise CheckpointError(f"{path} is not a checkpoint: it names no request") from None


def check_compatible(
    checkpoint: Checkpoint, path: Path, fingerprint: str, software: Mapping[str, str]
) -> None:
    """Refuse a checkpoint that this model or this software would not finish bit for bit.

    Raises:
        CheckpointError: The model or a part of the software differs; the message names what.
    """
    if checkpoint.fingerprint != fingerprint:
        raise CheckpointError(
            f"{path} was made by other weights or settings of {checkpoint.model}: load the model it was "
            f"made with (fingerprint {checkpoint.fingerprint[:12]}, this one is {fingerprint[:12]})"
        )
    for name, here in software.items():
        there = checkpoint.software.get(name)
        if there != here:
            raise CheckpointError(
                f"{path} was made with {name} {there}, here is {here}: "
                "resume it where that is installed, or start again"
            )


@cache
def current_software(device: torch.device, dtype: torch.dtype) -> Mapping[str, str]:
    """Return the versions, device and precision that have to be equal for equal bits."""
    return {
        "reelgrid": __version__,
        "torch": torch.__version__,
        "diffusers": version("diffusers"),
        "device": device_class(device),
        "precision": str(dtype).removeprefix("torch."),
    }


def device_class(device: torch.device) -> str:
    """Return the kind of device; devices of one kind round alike."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        return f"cpu {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return device.type


def _read_header(path: Path) -> dict[str, Any]:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise CheckpointError(f"{path} {what}: give the file of a checkpoint")
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_HEADER_KEY)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is truncated or not a checkpoint: {_first_line(error)}"
        ) from None
    header = _parse(text)
    if header is None:
        raise CheckpointError(f"{path} is a safetensors file, but not a checkpoint")
    if header.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {header.get('format')}, this version reads {FORMAT}: "
            "start the generation again"
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
