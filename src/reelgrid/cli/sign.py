"""`reelgrid sign`: sign files that were generated on this machine (C2PA)."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reelgrid.cli.options import read_settings
from reelgrid.cli.output import say
from reelgrid.errors import RequestError

if TYPE_CHECKING:
    from reelgrid.media import Provenance


def sign_files(
    files: Annotated[
        list[Path], typer.Argument(help="Files to sign: .mp4, .png, .webp, .jpg or .gif.")
    ],
) -> None:
    """Sign files that Reelgrid generated.

    The certificate is that of REELGRID_CERTIFICATE, or a self-signed one. Files of `reelgrid
    serve` are already signed.
    """
    settings = read_settings()
    from reelgrid.media import sign, signer_from_settings

    signer = signer_from_settings(settings)
    for file in files:
        sign(file, _provenance(file), signer)
        say(f"{file} is signed")


def _provenance(file: Path) -> "Provenance":
    """Return the provenance in the metadata of a file.

    Raises:
        RequestError: It has none, or it is already signed.
    """
    from reelgrid.media import Provenance, Verdict, read_provenance, verify

    if not file.is_file():
        raise RequestError(f"{file} is not a file", param="files")
    if verify(file).verdict is not Verdict.UNSIGNED:
        raise RequestError(
            f"{file} is already signed, or Reelgrid did not generate it", param="files"
        )
    fields = read_provenance(file)
    try:
        return Provenance(
            **{name: fields[name] for name in ("prompt", "seed", "model", "software")},
            negative_prompt=fields.get("negative_prompt"),
            extra=fields.get("extra", {}),
        )
    except KeyError as error:
        raise RequestError(
            f"the metadata of {file} has no {error.args[0]}", param="files"
        ) from None
