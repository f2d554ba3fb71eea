"""An authority that certifies whatever a test needs, with `cryptography` as the reference."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from reelgrid.media import Signer

PEM = serialization.Encoding.PEM
PURPOSE = ExtendedKeyUsageOID.EMAIL_PROTECTION
KEYS: dict[str, Callable[[], Any]] = {
    "es256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "es384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "es512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "ps256": lambda: rsa.generate_private_key(65_537, 2_048),
}


class Authority:
    """Signs certificates; `pem` is its own certificate, for those who trust it."""

    def __init__(self, name="Test Authority", days=(-1, 100)):
        self._key = KEYS["es256"]()
        self._name = name
        self.certificate = self._certify(self._key, name, is_authority=True, days=days)
        self.pem = self.certificate.public_bytes(PEM)

    def signer(self, algorithm="es256", **given) -> Signer:
        key = KEYS[algorithm]()
        leaf = self._certify(key, "Acme Video", **given)
        return Signer(leaf.public_bytes(PEM) + self.pem, private_pem(key), algorithm)

    def files(self, folder: Path, algorithm="es256", **given) -> tuple[Path, Path]:
        signer = self.signer(algorithm, **given)
        paths = folder / "chain.pem", folder / "key.pem"
        paths[0].write_bytes(signer.chain_pem)
        paths[1].write_bytes(signer.key_pem)
        return paths

    def _certify(
        self, key, name, *, is_authority=False, purpose=PURPOSE, days=(-1, 100), asks=None
    ):
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(named(name))
            .issuer_name(named(self._name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=days[0]))
            .not_valid_after(now + timedelta(days=days[1]))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(usage(is_authority), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
        )
        if not is_authority:
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        if asks is not None:  # the address that says whether the certificate was revoked
            place = x509.UniformResourceIdentifier(asks)
            access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, place)
            builder = builder.add_extension(
                x509.AuthorityInformationAccess([access]), critical=False
            )
        return builder.sign(self._key, hashes.SHA256())


def named(name):
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"{name} Ltd"),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def usage(is_authority):
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def private_pem(key) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    pem: bytes = key.private_bytes(PEM, form, serialization.NoEncryption())
    return pem
