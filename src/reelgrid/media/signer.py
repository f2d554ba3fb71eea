"""Certificates that sign files: the operator's own, or a self-signed one of this machine."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reelgrid.errors import BusyError, RequestError
from reelgrid.settings import Settings
from reelgrid.store.atomic import atomic_write
from reelgrid.store.lock import lock_file

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

SELF_SIGNED: Final = "Reelgrid, self-signed on this machine"
# Key usages with which c2pa accepts a certificate: C2PA 2.2, 14.5.1 (claim signing, e-mail protection,
# document signing).
_PURPOSES: Final = frozenset(
    {
        "1.3.6.1.4.1.62558.2.1",
        "1.3.6.1.5.5.7.3.4",
        "1.3.6.1.5.5.7.3.36",
        "1.3.6.1.4.1.311.76.59.1.9",
    }
)
_VALID_FOR: Final = timedelta(days=5 * 365)
_WAIT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Signer:
    """A certificate with its private key.

    Attributes:
        chain_pem: The certificate, then its issuers.
        algorithm: Its name in c2pa.
        timestamp_url: RFC 3161 time stamp authority; `None` needs no network.
    """

    chain_pem: bytes
    key_pem: bytes = field(repr=False)
    algorithm: str
    timestamp_url: str | None = None


def signer_from_settings(settings: Settings) -> Signer:
    """Return the signer of the settings, or the self-signed one of the data folder.

    Raises:
        RequestError: The files cannot be read, do not belong together or are not suitable.
    """
    if settings.certificate is None and settings.certificate_key is None:
        return self_signed_signer(settings.data)
    if settings.certificate is None or settings.certificate_key is None:
        raise RequestError("set both REELGRID_CERTIFICATE and REELGRID_CERTIFICATE_KEY, or neither")
    return read_signer(
        settings.certificate, settings.certificate_key, timestamp_url=settings.timestamp_url
    )


def read_signer(certificate: Path, key: Path, *, timestamp_url: str | None = None) -> Signer:
    """Return the signer of two PEM files, after checking that its signatures will be valid.

    Raises:
        RequestError: They cannot be read, do not belong together, have expired, or the certificate
            may not sign claims.
    """
    try:
        chain_pem, key_pem = certificate.read_bytes(), key.read_bytes()
    except OSError as error:
        raise RequestError(f"{error.filename} cannot be read: {error.strerror}") from None
    return _checked(chain_pem, key_pem, str(certificate), timestamp_url)


def self_signed_signer(folder: Path) -> Signer:
    """Return the self-signed signer of this machine, created at the first call.

    Its file in `folder` is readable by the owner only. Beside it is the certificate of the authority
    that issued it; the authority's key is thrown away, so that it can issue nothing else.

    Raises:
        BusyError: Another process has been creating it for half a minute.
    """
    folder.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + _WAIT_S
    while time.monotonic() < until:
        signer = _read_self_signed(folder)
        if signer is not None:
            return signer
        try:
            with lock_file(folder / ".signer.lock"):
                if _read_self_signed(folder) is None:
                    _create_self_signed(folder)
        except BusyError:
            time.sleep(0.05)
    raise BusyError(f"{folder} is being written to by another process: try again")


def self_signed_anchor(folder: Path) -> bytes | None:
    """Return the authority's certificate of the self-signed signer in `folder`, or `None`."""
    path = folder / "signer-ca.pem"
    return path.read_bytes() if path.is_file() else None


def _read_self_signed(folder: Path) -> Signer | None:
    path = folder / "signer.pem"
    try:
        pem = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return _checked(pem, pem, str(path), None)
    except RequestError:  # it has expired: create another
        return None


def _create_self_signed(folder: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    authority_key = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("authority", authority_key, authority_key, is_authority=True)
    leaf = _certificate("signer", key, authority_key, is_authority=False)
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    with atomic_write(folder / "signer-ca.pem") as temporary:
        temporary.write_bytes(authority.public_bytes(pem))
    with atomic_write(folder / "signer.pem", mode=0o600) as temporary:
        temporary.write_bytes(secret + leaf.public_bytes(pem) + authority.public_bytes(pem))


def _certificate(
    role: str,
    key: "EllipticCurvePrivateKey",
    signing_key: "EllipticCurvePrivateKey",
    *,
    is_authority: bool,
) -> "x509.Certificate":
    """Return a certificate as C2PA 2.2, 14.5.1, requires it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID

    now = datetime.now(UTC)
    identifier = x509.SubjectKeyIdentifier.from_public_key
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(role))
        .issuer_name(_name("authority"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _VALID_FOR)
        .add_extension(
            x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None),
            critical=True,
        )
        .add_extension(_usage(is_authority=is_authority), critical=True)
        .add_extension(identifier(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signing_key.public_key()),
            critical=False,
        )
    )
    if not is_authority:
        purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(purpose, critical=False)
    return builder.sign(signing_key, hashes.SHA256())


def _name(role: str) -> "x509.Name":
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, SELF_SIGNED),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Reelgrid {role}"),
        ]
    )


def _usage(*, is_authority: bool) -> "x509.KeyUsage":
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _checked(chain_pem: bytes, key_pem: bytes, name: str, timestamp_url: str | None) -> Signer:
    """Return the signer of a certificate chain and its key.

    Raises:
        RequestError: It is not suitable.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization
    except ImportError:
        raise RequestError('signing files needs: pip install "reelgrid[serve]"') from None
    try:
        chain = x509.load_pem_x509_certificates(chain_pem)
        key: Any = serialization.load_pem_private_key(_key_of(key_pem), password=None)
    except (ValueError, TypeError) as error:
        raise RequestError(f"{name} and its key cannot be read as PEM: {error}") from None
    leaf = chain[0]
    if leaf.public_key() != key.public_key():
        raise RequestError(f"the key does not belong to the first certificate in {name}")
    if not leaf.not_valid_before_utc <= datetime.now(UTC) <= leaf.not_valid_after_utc:
        raise RequestError(
            f"{name} is valid from {leaf.not_valid_before_utc:%Y-%m-%d} to "
            f"{leaf.not_valid_after_utc:%Y-%m-%d} only: renew it"
        )
    if not _purposes(leaf) & _PURPOSES:
        raise RequestError(
            f"{name} may not sign claims: its extended key usage has to include "
            "e-mail protection, document signing or C2PA claim signing"
        )
    pems = (each.public_bytes(serialization.Encoding.PEM) for each in chain)
    return Signer(b"".join(pems), _key_of(key_pem), _algorithm(key, name), timestamp_url)


def _key_of(pem: bytes) -> bytes:
    """Return the private key of a PEM file that may also contain certificates."""
    start = pem.find(b"-----BEGIN", 0)
    while start >= 0 and b"PRIVATE KEY" not in pem[start : pem.find(b"\n", start)]:
        start = pem.find(b"-----BEGIN", start + 1)
    end = pem.find(b"-----END", start)
    return pem[start : pem.find(b"-----", end + 5) + 5] + b"\n" if start >= 0 else b""


def _purposes(certificate: "x509.Certificate") -> set[str]:
    from cryptography import x509

    try:
        extension = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except x509.ExtensionNotFound:
        return set()
    return {purpose.dotted_string for purpose in extension.value}


def _algorithm(key: Any, name: str) -> str:
    """Return c2pa's name of the algorithm of a key: C2PA 2.2, 13.2.

    Raises:
        RequestError: The key has no supported algorithm.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2_048:
        return "ps256"
    curves = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in curves:
        return curves[key.curve.name]
    raise RequestError(
        f"the key of {name} is not supported: use P-256, P-384, P-521, Ed25519, or RSA of 2048 bits"
    )
