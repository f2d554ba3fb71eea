"""`reelgrid verify`: who made a file, and whether it is as its maker left it."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

import typer

from reelgrid.cli import options
from reelgrid.cli.options import read_settings
from reelgrid.errors import RequestError

if TYPE_CHECKING:
    from reelgrid.media import Verified

_NOT_AS_IT_SHOULD_BE: Final = 1
_UNSIGNED: Final = 3
_UNMARKED: Final = 4


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(verify_file)


def verify_file(
    file: Annotated[Path, typer.Argument(help="An image or a video.")],
    trust: Annotated[
        Path | None, typer.Option(help="PEM file of the certificates that you trust.")
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="Check that it was made from this prompt.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Say who made a file, and whether it is as its maker left it; needs no network.

    Exit code 0: signed and intact. 1: changed, or its signer is not trusted or has expired, or
    the prompt is another. 2: no such image or video. 3: marked as AI-generated, not signed. 4: no mark.
    """
    settings = read_settings()
    from reelgrid.media import prompt_sha256, verify
    from reelgrid.media.signer import self_signed_anchor

    anchors = trust or settings.trust
    found = verify(
        file,
        anchors_pem=_read(anchors) if anchors else None,
        own_anchor_pem=self_signed_anchor(settings.data),
    )
    said = found.claims or found.mark
    is_prompt = None if prompt is None else prompt_sha256(prompt) == said.get("prompt_sha256")
    if as_json:
        line = {"file": str(file), **asdict(found), "is_prompt": is_prompt}
        sys.stdout.write(json.dumps(line) + "\n")
    else:
        sys.stdout.writelines(f"{line}\n" for line in _lines(file, found, is_prompt))
    _leave(_exit_code(found, is_prompt))


def _leave(code: int) -> NoReturn:
    """End the command; raises `typer.Exit`."""
    raise typer.Exit(code)


def _read(anchors: Path) -> bytes:
    """Return the certificates of a PEM file.

    Raises:
        RequestError: There are none.
    """
    try:
        pem = anchors.read_bytes()
    except OSError as error:
        raise RequestError(f"{anchors} cannot be read: {error.strerror}", param="trust") from None
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        raise RequestError(f"{anchors} holds no certificate in PEM", param="trust")
    return pem


def _exit_code(found: "Verified", is_prompt: bool | None) -> int:
    by_name = {"unsigned": _UNSIGNED, "unmarked": _UNMARKED}
    if found.verdict.is_good:
        return _NOT_AS_IT_SHOULD_BE if is_prompt is False else 0
    return by_name.get(found.verdict, _NOT_AS_IT_SHOULD_BE)


_MEANINGS: Final = {
    "trusted": "signed and unchanged, by {signer}, whom a certificate you trust vouches for",
    "self-signed": "signed and unchanged, with the certificate that this machine made for itself",
    "valid": "signed and unchanged, by {signer}; nobody you trust was asked (--trust)",
    "untrusted": "unchanged, but signed by {signer}, whom nobody you trust vouches for",
    "expired": "unchanged, but the certificate of {signer} has expired and no time stamp shows "
    "that it was signed before",
    "tampered": "not as it was signed by {signer}",
    "unsigned": "says that it is AI-generated; nobody signed that, so anybody can have written it",
    "unmarked": "says nothing of how it was made",
}


def _lines(file: Path, found: "Verified", is_prompt: bool | None) -> Iterator[str]:
    meaning = _MEANINGS[found.verdict].format(signer=found.signer or "somebody")
    yield f"{file}: {found.verdict}: {meaning}"
    for problem in found.problems:
        yield f"  problem   {problem.code}: {problem.what}"
    said = found.claims or found.mark
    for name in ("mark", "model", "seed", "software", "prompt_sha256"):
        if name in said:
            yield f"  {name.partition('_')[0]:<9} {said[name]}"
    if found.num_sources:
        yield f"  sources   made from {found.num_sources} other file(s) that the manifest names"
    if is_prompt is not None:
        yield f"  prompt    {'is the one given' if is_prompt else 'is another than the one given'}"
