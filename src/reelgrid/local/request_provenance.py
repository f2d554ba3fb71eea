"""What a file will say of how it was made, and whether an existing one says the same."""

import dataclasses
from pathlib import Path

from reelgrid import catalog
from reelgrid.errors import RequestError
from reelgrid.media import Provenance, read_provenance
from reelgrid.spec import Request
from reelgrid.version import __version__


def model_label(name: str) -> str:
    """Return what a file calls a model: its hub id, or the last part of a local folder's path."""
    card = catalog.find(name)
    if card is not None:
        return card.repository or card.name
    return Path(name).name if Path(name).is_dir() else name


def provenance_of(model_name: str, request: Request) -> Provenance:
    """Return the provenance of what `request` makes."""
    return Provenance(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        seed=request.seed,
        model=model_label(model_name),
        software=f"reelgrid {__version__}",
        extra=_settings(request),
    )


def is_already_made(path: Path, model_name: str, request: Request) -> bool:
    """Whether `path` already holds what `request` asks for; what it leaves open fits anything."""
    if not path.exists():
        return False
    try:
        said = read_provenance(path)
    except RequestError:
        return False
    wanted = provenance_of(model_name, request)
    return (
        said.get("prompt") == wanted.prompt
        and said.get("negative_prompt") == wanted.negative_prompt
        and said.get("seed") == wanted.seed
        and said.get("model") == wanted.model
        and wanted.extra.items() <= dict(said.get("extra", {})).items()
    )


def _settings(request: Request) -> dict[str, object]:
    """Return the fields that `Provenance` does not name itself; a file goes by its name alone."""
    own = {each.name for each in dataclasses.fields(Provenance)}
    settings = {name: value for name, value in request.to_json().items() if name not in own}
    if request.first_frame is not None:
        settings["first_frame"] = request.first_frame.name
    return {name: value for name, value in settings.items() if value is not None}
