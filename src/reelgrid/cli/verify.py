"""`reelgrid verify`: check the signature of a file (C2PA) and print its origin."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from reelgrid.cli import options
from reelgrid.cli.output import print_json, print_text
from reelgrid.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reelgrid.media import Verified

_CHANGED_OR_UNTRUSTED: Final = 1
_UNSIGNED: Final = 3
_UNMARKED: Final = 4


def verify_file(
    file: Annotated[Path, typer.Argument(help="Image or video to check.")],
    trust: Annotated[
        Path | None,
        typer.Option(help="PEM file of certificates that you trust. Overrides REELGRID_TRUST."),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="Check that the file was generated from this prompt.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Check the signature of a file and print its origin (C2PA).

    Works without a network. Exit code 0: signed and unchanged. 1: changed, signer not trusted,
    certificate expired, or another prompt. 2: not an image or video. 3: marked as AI-generated
    but not signed. 4: not marked.
    """
    found = _verified(file, trust)
    is_prompt = None if prompt is None else _is_prompt(found, prompt)
    if as_json:
        print_json({"file": str(file), **asdict(found), "is_prompt": is_prompt})
    else:
        print_text("\n".join(_lines(file, found, is_prompt)))
    _exit(_exit_code(found, is_prompt))


def _exit(code: int) -> NoReturn:
    """Raise `typer.Exit`, which the help of the command does not mention."""
    raise typer.Exit(code)


def _verified(file: Path, trust: Path | None) -> "Verified":
    from reelgrid.media import verify
    from reelgrid.media.signer import self_signed_anchor

    settings = options.read_settings()
    anchors = trust or settings.trust
    return verify(
        file,
        anchors_pem=_read(anchors) if anchors else None,
        own_anchor_pem=self_signed_anchor(settings.data),
    )


def _is_prompt(found: "Verified", prompt: str) -> bool:
    from reelgrid.media import prompt_sha256

    return prompt_sha256(prompt) == _origin(found).get("prompt_sha256")


def _origin(found: "Verified") -> "Mapping[str, Any]":
    """Return what the manifest says of the generation, or else the plain metadata."""
    return found.claims or found.mark


def _read(anchors: Path) -> bytes:
    """Return the certificates of a PEM file.

    Raises:
        RequestError: It has none.
    """
    try:
        pem = anchors.read_bytes()
    except OSError as error:
        raise RequestError(f"{anchors} cannot be read: {error.strerror}", param="trust") from None
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        raise RequestError(f"{anchors} contains no certificate in PEM format", param="trust")
    return pem


def _exit_code(found: "Verified", is_prompt: bool | None) -> int:
    by_name = {"unsigned": _UNSIGNED, "unmarked": _UNMARKED}
    if found.verdict.is_good:
        return _CHANGED_OR_UNTRUSTED if is_prompt is False else 0
    return by_name.get(found.verdict, _CHANGED_OR_UNTRUSTED)


_MEANINGS: Final = {
    "trusted": "signed and unchanged, by {signer}; a certificate that you trust confirms the signer",
    "self-signed": "signed and unchanged, with the self-signed certificate of this machine",
    "valid": "signed and unchanged, by {signer}; the signer was not checked (give --trust)",
    "untrusted": "unchanged, but signed by {signer}, whom no certificate that you trust confirms",
    "expired": "unchanged, but the certificate of {signer} has expired and no time stamp shows "
    "that the file was signed before that",
    "tampered": "changed after {signer} signed it",
    "unsigned": "marked as AI-generated but not signed, so anyone can have written the mark",
    "unmarked": "not marked: it does not say how it was made",
}


def _lines(file: Path, found: "Verified", is_prompt: bool | None) -> Iterator[str]:
    meaning = _MEANINGS[found.verdict].format(signer=found.signer or "an unknown signer")
    yield f"{file}: {found.verdict}: {meaning}"
    for problem in found.problems:
        yield f"  problem   {problem.code}: {problem.what}"
    origin = _origin(found)
    for name in ("mark", "model", "seed", "software", "prompt_sha256"):
        if name in origin:
            yield f"  {name.partition('_')[0]:<9} {origin[name]}"
    if found.num_sources:
        yield f"  sources   made from {found.num_sources} other file(s) that the manifest names"
    if is_prompt is not None:
        yield f"  prompt    {'matches' if is_prompt else 'does not match'}"
