from reelgrid.media import Verdict, read_provenance, verify
from reelgrid.media.signer import self_signed_anchor
from reelgrid.settings import Settings
from tests.files import names
from tests.media.certificates import Authority
from tests.media.test_manifest import make


def test_files_are_signed_with_this_machines_own_certificate(reelgrid, here):
    files = [make(here / name) for name in ("a.mp4", "b.png")]
    before = [read_provenance(file) for file in files]
    code, _, err = reelgrid("sign", *files)
    assert (code, err.count("is signed")) == (0, 2)
    own = self_signed_anchor(Settings().data)
    for file, said in zip(files, before, strict=True):
        assert verify(file, own_anchor_pem=own).verdict is Verdict.SELF_SIGNED
        assert read_provenance(file) == said
    assert names(here) == ["a.mp4", "b.png"]


def test_the_operators_certificate_is_taken_from_the_settings(reelgrid, here, monkeypatch):
    authority = Authority()
    chain, key = authority.files(here)
    monkeypatch.setenv("REELGRID_CERTIFICATE", str(chain))
    monkeypatch.setenv("REELGRID_CERTIFICATE_KEY", str(key))
    assert reelgrid("sign", make(here / "a.png"))[0] == 0
    assert verify(here / "a.png", anchors_pem=authority.pem).verdict is Verdict.TRUSTED


def test_a_foreign_or_signed_file_is_refused(reelgrid, here):
    from PIL import Image

    Image.new("RGB", (8, 8)).save(here / "plain.png")
    signed = make(here / "a.png")
    reelgrid("sign", signed)
    for name, message in (
        ("plain.png", "did not generate it"),
        ("a.png", "is already signed"),
        ("none.png", "is not a file"),
        (".", "is not a file"),
    ):
        code, _, err = reelgrid("sign", name)
        assert (code, message in err, err.count("\n")) == (2, True, 1)
    assert reelgrid("sign", make(here / "a.webm"))[0] == 2


def test_the_webhook_secret_of_a_key_is_always_the_same(reelgrid):
    code, once, _ = reelgrid("webhook-secret")
    assert (code, once.startswith("whsec_")) == (0, True)
    assert reelgrid("webhook-secret", "local")[1] == once
    assert reelgrid("webhook-secret", "key_0123")[1] != once


def test_a_server_does_not_start_with_an_expired_certificate(reelgrid, here, monkeypatch):
    chain, key = Authority().files(here, days=(-20, -10))
    monkeypatch.setenv("REELGRID_CERTIFICATE", str(chain))
    monkeypatch.setenv("REELGRID_CERTIFICATE_KEY", str(key))
    code, _, err = reelgrid("serve", "--port", "0")
    assert (code, "only: renew it" in err, err.count("\n")) == (2, True, 1)
