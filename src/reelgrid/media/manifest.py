"""C2PA manifests: sign files, and verify whether a file is as it was signed.

A manifest, signed by the operator, states that a machine made the file, with which software, model
and seed, and the hash of the prompt, never the prompt. Two signed files of one generation
differ in random identifiers and in the signature alone; `manifest_claims` are equal.
"""

import hashlib
import json
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from reelgrid.errors import GenerationError, RequestError
from reelgrid.media.clip_writer import translate_write_errors
from reelgrid.media.media_type import MediaType, media_type_of
from reelgrid.media.provenance import DIGITAL_SOURCE_TYPE, Provenance, read_provenance
from reelgrid.media.signer import Signer
from reelgrid.store.atomic import atomic_write

SIGNABLE: Final = frozenset(
    {MediaType.MP4, MediaType.PNG, MediaType.JPEG, MediaType.WEBP, MediaType.GIF}
)
GENERATION: Final = "org.reelgrid.generation"
_NO_NETWORK: Final = {"remote_manifest_fetch": False, "ocsp_fetch": False}
_SIGNING: Final = {
    "verify": {"verify_after_sign": False, **_NO_NETWORK},
    "builder": {"thumbnail": {"enabled": False}},
}
_MANIFEST_MARK: Final = b"jumdc2pa"  # how the box of every manifest store begins


class Verdict(StrEnum):
    """The result of verifying a file."""

    TRUSTED = "trusted"  # intact, and the signer's certificate is trusted
    SELF_SIGNED = "self-signed"  # intact, and signed by this machine's own certificate
    VALID = "valid"  # intact; no trusted certificates were given
    UNTRUSTED = "untrusted"  # intact; the signer's certificate is not trusted
    EXPIRED = "expired"  # intact; the certificate expired, and the time of signing is not proven
    TAMPERED = "tampered"  # changed after it was signed
    UNSIGNED = "unsigned"  # it has the plain AI-generated mark only
    UNMARKED = "unmarked"  # it has no mark

    @property
    def is_good(self) -> bool:
        """Whether the file is unchanged, and trusted where trusted certificates were given."""
        return self in {Verdict.TRUSTED, Verdict.SELF_SIGNED, Verdict.VALID}


@dataclass(frozen=True, slots=True)
class VerificationProblem:
    """One problem of a file; `code` is C2PA's, such as `assertion.dataHash.mismatch`."""

    code: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """The verdict on a file and what it is based on.

    Attributes:
        signer: The signer's name in the certificate.
        problems: Reasons of a bad verdict.
        claims: The manifest's statements about the generation.
        mark: The plain metadata of the file.
        num_sources: Number of files that the manifest names as sources.
    """

    verdict: Verdict
    kind: MediaType
    signer: str | None = None
    problems: tuple[VerificationProblem, ...] = ()
    claims: Mapping[str, Any] = field(default_factory=dict)
    mark: Mapping[str, Any] = field(default_factory=dict)
    num_sources: int = 0


def sign(
    path: Path, provenance: Provenance, signer: Signer, *, sources: Sequence[Path] = ()
) -> None:
    """Add a signed manifest to a finished file, atomically.

    Args:
        path: An MP4, PNG, WebP, JPEG or GIF without a manifest.
        provenance: The content of the manifest.
        signer: The certificate and key that sign it.
        sources: Files it was made from: a first frame, the clip that it extends.

    Raises:
        RequestError: Its format has no place for a manifest, or c2pa is not installed.
        GenerationError: The disk is full, or the certificate has expired; the file is unchanged.
    """
    kind = media_type_of(path)
    if kind not in SIGNABLE:
        raise RequestError(f"{path.name}: files of this format cannot be signed")
    c2pa = _c2pa()
    definition = json.dumps(_definition(path, provenance, sources))
    info = c2pa.C2paSignerInfo(
        signer.algorithm, signer.chain_pem, signer.key_pem, signer.timestamp_url
    )
    try:
        with (
            c2pa.Context.from_dict(_SIGNING, signer=c2pa.Signer.from_info(info)) as context,
            c2pa.Builder(definition, context=context) as builder,
        ):
            for source in sources:
                _add_source(builder, source)
            _sign_whole(builder, path, kind)
    except c2pa.C2paError as error:
        raise GenerationError(f"{path.name} could not be signed: {error}") from None


def _sign_whole(builder: Any, path: Path, kind: MediaType) -> None:
    with (
        translate_write_errors(path),
        atomic_write(path) as temporary,
        path.open("rb") as unsigned,
        temporary.open("w+b") as signed,
    ):
        builder.sign(kind.value, unsigned, signed)


def verify(
    path: Path, *, anchors_pem: bytes | None = None, own_anchor_pem: bytes | None = None
) -> Verified:
    """Verify whether a file is unchanged since it was signed, and by whom.

    Needs no network: remote manifests and revocation lists are not fetched.

    Args:
        path: An image or a video.
        anchors_pem: Trusted certificates; `None` to verify the content only.
        own_anchor_pem: The certificate authority of this machine's self-signed signer.

    Returns:
        The verdict and what it is based on.

    Raises:
        RequestError: It is not an image or video of a known type, or cannot be read.
    """
    kind = _kind(path)
    mark = _mark(path)
    if not _has_manifest(path, kind):
        verdict = Verdict.UNSIGNED if mark else Verdict.UNMARKED
        return Verified(verdict=verdict, kind=kind, mark=mark)
    store, failure = _read(path, kind, anchors_pem)
    if store is None:
        damaged = VerificationProblem("manifest", f"the manifest itself is damaged: {failure}")
        return Verified(verdict=Verdict.TAMPERED, kind=kind, problems=(damaged,), mark=mark)
    verdict, problems = _judge(store, is_asked=anchors_pem is not None)
    if verdict is Verdict.VALID and own_anchor_pem is not None:
        own, _ = _read(path, kind, own_anchor_pem)
        is_own = _judge(own or store, is_asked=False)[0] is Verdict.TRUSTED
        verdict = Verdict.SELF_SIGNED if is_own else verdict
    active = store["manifests"][store["active_manifest"]]
    return Verified(
        verdict=verdict,
        kind=kind,
        signer=_signer_name(active),
        problems=problems,
        claims=_claims(active),
        mark=mark,
        num_sources=len(active.get("ingredients", ())),
    )


def manifest_claims(path: Path) -> Mapping[str, Any]:
    """Return the statements of a file's manifest about its generation, without verifying them.

    They include the SHA-256 of the file before it was signed: two files with equal claims are equal
    byte for byte except for the manifest.

    Raises:
        RequestError: The file has no readable manifest.
    """
    store, failure = _read(path, _kind(path), None)
    if store is None:
        raise RequestError(f"{path.name} has no manifest that can be read: {failure}")
    return _claims(store["manifests"][store["active_manifest"]])


def _definition(path: Path, provenance: Provenance, sources: Sequence[Path]) -> dict[str, object]:
    name, _, version = provenance.software.partition(" ")
    created = {
        "action": "c2pa.created",
        "digitalSourceType": DIGITAL_SOURCE_TYPE,
        "softwareAgent": {"name": name, "version": version},
    }
    claims = json.loads(replace(provenance, prompts_in_metadata=False).to_json())
    claims["unsigned_sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    placed = [
        {"action": "c2pa.placed", "parameters": {"ingredientIds": [_source_id(source)]}}
        for source in sources
    ]
    return {
        "claim_generator_info": [{"name": name, "version": version}],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [created, *placed]}},
            {"label": GENERATION, "data": claims},
        ],
    }


def _source_id(source: Path) -> str:
    return hashlib.sha256(source.read_bytes()).hexdigest()


def _add_source(builder: Any, source: Path) -> None:
    kind = media_type_of(source)
    if kind not in SIGNABLE:
        raise RequestError(f"{source.name}: this format cannot be named as a source")
    described = {"relationship": "componentOf", "instance_id": _source_id(source)}
    with source.open("rb") as content:
        builder.add_ingredient(json.dumps(described), kind.value, content)


def _c2pa() -> Any:
    try:
        import c2pa
    except ImportError:
        raise RequestError('signed manifests need: pip install "reelgrid[serve]"') from None
    return c2pa


def _kind(path: Path) -> MediaType:
    try:
        kind = media_type_of(path)
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}", param="path") from None
    if kind is None:
        raise RequestError(f"{path} is not an image or video of a known type", param="path")
    return kind


def _mark(path: Path) -> dict[str, Any]:
    try:
        return read_provenance(path)
    except RequestError:
        return {}


def _has_manifest(path: Path, kind: MediaType) -> bool:
    if kind not in SIGNABLE:
        return False
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return content.find(_MANIFEST_MARK) >= 0


def _read(path: Path, kind: MediaType, anchors_pem: bytes | None) -> tuple[Any, str]:
    """Return the manifest store that c2pa validated, or `None` and the reason."""
    c2pa = _c2pa()
    settings: dict[str, Any] = {"verify": {"verify_trust": True, **_NO_NETWORK}}
    if anchors_pem is not None:
        settings["trust"] = {"trust_anchors": anchors_pem.decode()}
    try:
        with (
            c2pa.Context.from_dict(settings) as context,
            path.open("rb") as content,
            c2pa.Reader(kind.value, content, context=context) as reader,
        ):
            return json.loads(reader.json()), ""
    except c2pa.C2paError as error:
        return None, str(error)


_TRUST_CODES: Final = frozenset({"signingCredential.untrusted"})
_TIME_CODES: Final = frozenset({"signingCredential.expired", "claimSignature.outsideValidity"})


def _judge(
    store: Mapping[str, Any], *, is_asked: bool
) -> tuple[Verdict, tuple[VerificationProblem, ...]]:
    """Return the verdict on c2pa's validation results, and the problems of the file."""
    found = store.get("validation_results", {}).get("activeManifest", {}).get("failure", ())
    problems = tuple(VerificationProblem(each["code"], _what(each)) for each in found)
    codes = {problem.code for problem in problems}
    if codes - _TRUST_CODES - _TIME_CODES:
        return Verdict.TAMPERED, problems
    if codes & _TIME_CODES:
        return Verdict.EXPIRED, problems
    if codes:
        return (Verdict.UNTRUSTED, problems) if is_asked else (Verdict.VALID, ())
    return Verdict.TRUSTED, ()


def _what(failure: Mapping[str, Any]) -> str:
    label = str(failure.get("url", "")).rpartition("/")[2]
    return f"{failure.get('explanation', 'failed')} ({label})"


def _signer_name(manifest: Mapping[str, Any]) -> str | None:
    known = manifest.get("signature_info", {})
    names = [known.get("common_name"), known.get("issuer")]
    return ", ".join(dict.fromkeys(name for name in names if name)) or None


def _claims(manifest: Mapping[str, Any]) -> dict[str, Any]:
    for assertion in manifest.get("assertions", ()):
        if assertion["label"] == GENERATION:
            return dict(assertion["data"])
    return {}
