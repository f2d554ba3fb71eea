"""Where a model's files are: in the package, in a folder, in the hub's cache or on the hub.

Whatever the name, the answer is a local folder; what is fetched is measured first.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from importlib import resources
from pathlib import Path

from reelgrid.catalog import ModelCard, find, similar_names
from reelgrid.errors import ModelError
from reelgrid.models.placement import check_disk, disk_free_bytes
from reelgrid.models.weights import INDEX_NAMES, is_wanted

EMBEDDED = "embedded"
HUB_TIMEOUT_S = 10.0

_HUB_ID = re.compile(r"[\w][\w.-]*/[\w][\w.-]*")

CheckSize = Callable[[int], object]


def find_folder(name: str, check_size: CheckSize) -> tuple[Path, ModelCard | None]:
    """Return the folder with the model's files, and its card where the catalogue has one.

    Args:
        name: Catalogue name, hub id or local folder.
        check_size: Called with the number of parameters before they are fetched; raises to refuse.

    Raises:
        ModelError: There is no such model, or its files cannot be had.
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
        raise ModelError(f"{folder} is no model: it has no {' or '.join(INDEX_NAMES)}")
    return folder


def _hub_folder(repository: str, check_size: CheckSize, params_b: float | None = None) -> Path:
    """Return the folder of a hub repository in the cache, fetched first where it is missing."""
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
    wanted = {file: size for file, size in files.items() if is_wanted(file)}
    check_size(int(params_b * 1e9) if params_b else _parameters_on_hub(repository, wanted))
    missing = sum(size for file, size in wanted.items() if not _is_cached(repository, file))
    check_disk(repository, missing, disk_free_bytes(Path(constants.HF_HUB_CACHE)))
    try:
        return _checked(Path(snapshot_download(repository, allow_patterns=sorted(wanted))))
    except (HTTPError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(f"{repository} could not be fetched: {_first_line(error)}") from None


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
    """Return about how many numbers a repository's weight files hold, from one header a folder."""
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
            f"{repository} is not on this machine and {why}: fetch it where there is a network, "
            "or use --model embedded"
        ) from None


def _is_cached(repository: str, file: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repository, file), str)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
