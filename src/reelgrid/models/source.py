"""Find a model's files by its name: in the package, a folder, the hub's cache or on the hub.

The result is always a local folder. Before a download its size is compared with what is free.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from importlib import resources
from pathlib import Path

from reelgrid.catalog import ModelCard, find, similar_names
from reelgrid.errors import ModelError
from reelgrid.models.placement import check_disk, disk_free_bytes

MODULAR_INDEX = "modular_model_index.json"
INDEX_NAMES = (MODULAR_INDEX, "model_index.json")
EMBEDDED = "embedded"
HUB_TIMEOUT_S = 10.0

_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000
_VARIANT = re.compile(r"\.(fp16|bf16|fp32|ema|non_ema)[.-]")
_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")

CheckSize = Callable[[int], object]


def find_folder(name: str, check_size: CheckSize) -> tuple[Path, ModelCard | None]:
    """Return the folder with the model's files, and its card where the catalogue has one.

    Args:
        name: Catalogue name, hub id or local folder.
        check_size: Called with the number of parameters before a download; raises to refuse.

    Raises:
        ModelError: There is no such model, or its files cannot be downloaded.
    """
    card = find(name)
    if card is not None and card.name == EMBEDDED:
        return _checked(_embedded_folder()), card
    if card is not None and card.repository is not None:
        return _hub_folder(card.repository, check_size, card.params_b), card
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _checked(folder.resolve()), None
    if folder.exists():
        raise ModelError(f"{name} is a file: give the folder of a model")
    if _HUB_ID.fullmatch(name):
        return _hub_folder(name, check_size), None
    similar = similar_names(name)
    meant = f"did you mean {' or '.join(similar)}?" if similar else "reelgrid models lists names;"
    raise ModelError(
        f"no model {name!r}: {meant} a folder or a hub id such as "
        "Wan-AI/Wan2.1-T2V-1.3B-Diffusers will do too"
    )


def _embedded_folder() -> Path:
    weights = resources.files("reelgrid.models.embedded") / "weights"
    with ExitStack() as stack:
        return stack.enter_context(resources.as_file(weights))


def _checked(folder: Path) -> Path:
    if not any((folder / name).is_file() for name in INDEX_NAMES):
        raise ModelError(f"{folder} is not a model: it has no {' or '.join(INDEX_NAMES)}")
    return folder


def _hub_folder(repository: str, check_size: CheckSize, params_b: float | None = None) -> Path:
    """Return the folder of a hub repository in the cache, downloaded first where it is missing."""
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError: its client's
        HfHubHTTPError,
        HTTPError,
        LocalEntryNotFoundError,
    )

    if constants.HF_HUB_OFFLINE:
        return _cached_folder(repository, "HF_HUB_OFFLINE is set")
    try:
        files = _files_on_hub(repository)
    except (HTTPError, OSError) as error:
        return _cached_folder(repository, f"the hub cannot be reached ({_first_line(error)})")
    needed = {file: size for file, size in files.items() if is_pipeline_file(file)}
    check_size(int(params_b * 1e9) if params_b else _parameters_on_hub(repository, needed))
    missing = sum(size for file, size in needed.items() if not _is_cached(repository, file))
    check_disk(repository, missing, disk_free_bytes(Path(constants.HF_HUB_CACHE)))
    try:
        return _checked(Path(snapshot_download(repository, allow_patterns=sorted(needed))))
    except (HTTPError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(f"{repository} could not be downloaded: {_first_line(error)}") from None


def _files_on_hub(repository: str) -> dict[str, int]:
    """Return the sizes in bytes of a repository's files, by path."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    try:
        info = HfApi().model_info(repository, files_metadata=True, timeout=HUB_TIMEOUT_S)
    except GatedRepoError:
        raise ModelError(
            f"{repository} asks for its licence to be accepted: do so at "
            f"https://huggingface.co/{repository} and set HF_TOKEN"
        ) from None
    except RepositoryNotFoundError:
        raise ModelError(
            f"the hub has no model {repository}, or it is private: check the name, or set HF_TOKEN"
        ) from None
    return {file.rfilename: file.size or 0 for file in info.siblings or ()}


def _parameters_on_hub(repository: str, files: Mapping[str, int]) -> int:
    """Return an estimate of the parameters on the hub, from one weight file's header per folder."""
    from huggingface_hub import HfApi

    total, item_bytes = 0.0, dict[str, float]()
    for file, size in sorted(files.items()):
        if file.endswith(".safetensors"):
            folder = file.partition("/")[0]
            if folder not in item_bytes:
                header = HfApi().parse_safetensors_file_metadata(repository, file)
                item_bytes[folder] = size / max(1, sum(header.parameter_count.values()))
            total += size / item_bytes[folder]
    return int(total)


def _cached_folder(repository: str, why: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return _checked(Path(snapshot_download(repository, local_files_only=True)))
    except (OSError, ModelError):
        raise ModelError(
            f"{repository} is not on this machine and {why}: download it where there is a network, "
            "or use --model embedded"
        ) from None


def _is_cached(repository: str, file: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repository, file), str)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def is_pipeline_file(file: str) -> bool:
    """Whether loading reads a pipeline's file, by its path in the folder."""
    path = Path(file)
    if len(path.parts) == 1:
        return file in INDEX_NAMES
    if len(path.parts) > 2 or _VARIANT.search(path.name):
        return False
    return path.suffix in {".safetensors", ".json", ".txt", ".model", ".jinja"}


def weight_files(folder: Path) -> list[Path]:
    """Return the weight files that loading reads from a pipeline's folder."""
    files = folder.glob("*/*.safetensors")
    return sorted(file for file in files if is_pipeline_file(str(file.relative_to(folder))))


def num_parameters(files: Iterable[Path]) -> int:
    """Return how many parameters the weight files hold together, from their headers.

    Raises:
        ModelError: A file is truncated or not a safetensors file.
    """
    return sum(_num_parameters_in(file) for file in files)


def _num_parameters_in(file: Path) -> int:
    with file.open("rb") as handle:
        length = int.from_bytes(handle.read(_LENGTH_BYTES), "little")
        text = handle.read(length) if length <= _MAX_HEADER_BYTES else b""
    try:
        header = json.loads(text)
        header.pop("__metadata__", None)
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
        shapes = [entry["shape"] for entry in header.values()]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise ModelError(f"{file} is not a safetensors file: download it again") from None
    expected, found = _LENGTH_BYTES + length + end, file.stat().st_size
    if found != expected:
        raise ModelError(f"{file} has {found:,} of {expected:,} bytes: download it again")
    return sum(math.prod(shape) for shape in shapes)
