import threading

import pytest
from cryptography import x509

from reelgrid.errors import RequestError
from reelgrid.media import (
    Verdict,
    read_signer,
    self_signed_signer,
    sign,
    signer_from_settings,
    verify,
)
from reelgrid.media.signer import self_signed_anchor
from reelgrid.settings import Settings
from tests.media.certificates import KEYS, Authority
from tests.media.clips import PROVENANCE
from tests.media.test_manifest import make


@pytest.fixture
def authority():
    return Authority()


def test_the_self_signed_signer_is_created_once_and_readable_by_its_owner_only(tmp_path):
    made = []
    threads = [
        threading.Thread(target=lambda: made.append(self_signed_signer(tmp_path / "data")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len({signer.chain_pem for signer in made}) == 1
    assert (tmp_path / "data" / "signer.pem").stat().st_mode & 0o777 == 0o600
    assert self_signed_signer(tmp_path / "data") == made[0]


def test_a_self_signed_file_is_known_on_this_machine_only(tmp_path):
    path = make(tmp_path / "a.png")
    sign(path, PROVENANCE, self_signed_signer(tmp_path / "data"))
    own = self_signed_anchor(tmp_path / "data")
    assert verify(path, own_anchor_pem=own).verdict is Verdict.SELF_SIGNED
    assert verify(path).verdict is Verdict.VALID
    assert verify(path, anchors_pem=own).verdict is Verdict.TRUSTED
    self_signed_signer(tmp_path / "other")
    other = self_signed_anchor(tmp_path / "other")
    assert verify(path, own_anchor_pem=other).verdict is Verdict.VALID


def test_an_expired_self_signed_signer_is_created_again(tmp_path, authority):
    old = authority.signer(days=(-20, -10))
    (tmp_path / "signer.pem").write_bytes(old.key_pem + old.chain_pem)
    new = self_signed_signer(tmp_path)
    assert new.chain_pem != old.chain_pem


def test_a_certificate_is_not_an_authority_itself(tmp_path):
    signer = self_signed_signer(tmp_path)
    leaf, authority = x509.load_pem_x509_certificates(signer.chain_pem)
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    leaf.verify_directly_issued_by(authority)


@pytest.mark.parametrize("algorithm", KEYS)
def test_the_operators_own_certificate_is_read(tmp_path, authority, algorithm):
    signer = read_signer(*authority.files(tmp_path, algorithm))
    assert signer.algorithm == algorithm
    assert "PRIVATE" not in repr(signer)
    path = make(tmp_path / "a.png")
    sign(path, PROVENANCE, signer)
    assert verify(path, anchors_pem=authority.pem).verdict is Verdict.TRUSTED


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"days": (-20, -10)}, "valid from .* only: renew it"),
        ({"days": (10, 20)}, "valid from .* only"),
        ({"purpose": x509.oid.ExtendedKeyUsageOID.SERVER_AUTH}, "may not sign claims"),
    ],
)
def test_a_certificate_that_would_make_every_file_invalid_is_refused(
    tmp_path, authority, given, message
):
    with pytest.raises(RequestError, match=message):
        read_signer(*authority.files(tmp_path, **given))


def test_certificate_and_key_that_do_not_belong_together_or_are_not_pem_are_refused(
    tmp_path, authority
):
    chain, key = authority.files(tmp_path)
    key.write_bytes(authority.signer().key_pem)
    with pytest.raises(RequestError, match="the key does not belong to the first certificate"):
        read_signer(chain, key)
    key.write_bytes(b"no key")
    with pytest.raises(RequestError, match="cannot be read as PEM"):
        read_signer(chain, key)
    with pytest.raises(RequestError, match=r"none\.pem cannot be read"):
        read_signer(tmp_path / "none.pem", key)


def test_the_settings_choose_the_signer(tmp_path, authority):
    chain, key = authority.files(tmp_path)
    data = tmp_path / "data"
    given = signer_from_settings(Settings(data=data, certificate=chain, certificate_key=key))
    assert given.chain_pem == chain.read_bytes()
    assert not data.exists()
    assert signer_from_settings(Settings(data=data)) == self_signed_signer(data)
    with pytest.raises(RequestError, match=", or neither"):
        signer_from_settings(Settings(data=data, certificate=chain))
