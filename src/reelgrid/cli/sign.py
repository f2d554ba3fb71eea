"""`reelgrid sign`: put the user's name on files that were made on this machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reelgrid.cli.options import read_settings
from reelgrid.cli.output import say
from reelgrid.errors import RequestError

if TYPE_CHECKING:
    from reelgrid.media import Provenance


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("sign")(sign_files)


def sign_files(
    files: Annotated[
        list[Path], typer.Argument(help="Finished .mp4, .png, .webp, .jpg or .gif files.")
    ],
) -> None:
    """Sign files that Reelgrid made, with the certificate of the settings or a self-signed one.

    What `reelgrid serve` makes is signed already.
    """
    settings = read_settings()
    from reelgrid.media import sign, signer_from_settings

    signer = signer_from_settings(settings)
    for file in files:
        sign(file, _provenance(file), signer)
        say(f"{file} is signed")


def _provenance(file: Path) -> "Provenance":
    """Return what a file says of itself.

    Raises:
        RequestError: It says nothing, or is signed already.
    """
    from reelgrid.media import Provenance, Verdict, read_provenance, verify

    if not file.is_file():
        raise RequestError(f"{file} is no file", param="files")
    if verify(file).verdict is not Verdict.UNSIGNED:
        raise RequestError(f"{file} is signed already, or was not made here", param="files")
    said = read_provenance(file)
    try:
        return Provenance(
            prompt=said["prompt"],
            negative_prompt=said.get("negative_prompt"),
            seed=said["seed"],
            model=said["model"],
            software=said["software"],
            extra=said.get("extra", {}),
        )
    except KeyError as error:
        raise RequestError(f"{file} does not say its {error.args[0]}", param="files") from None
