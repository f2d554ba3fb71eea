import json

import pytest

from reelgrid.media import self_signed_signer, sign
from reelgrid.settings import Settings
from tests.media.certificates import Authority
from tests.media.clips import PROVENANCE
from tests.media.test_manifest import make


@pytest.fixture
def authority(here):
    found = Authority()
    (here / "trust.pem").write_bytes(found.pem)
    return found


@pytest.fixture
def signed(here, authority):
    path = make(here / "a.mp4")
    sign(path, PROVENANCE, authority.signer())
    return path


def test_a_signed_file_names_its_signer(reelgrid, signed):
    code, out, _ = reelgrid("verify", signed, "--trust", "trust.pem")
    assert code == 0
    assert "trusted: signed and unchanged, by Acme Video" in out
    assert "seed      9223372036854775807" in out
    code, out, _ = reelgrid("verify", signed)
    assert (code, "valid: signed and unchanged, by Acme Video" in out) == (0, True)


def test_trusted_certificates_can_be_a_setting(reelgrid, signed, here, monkeypatch):
    monkeypatch.setenv("REELGRID_TRUST", str(here / "trust.pem"))
    assert "trusted:" in reelgrid("verify", signed)[1]


def test_a_file_of_this_machine_is_self_signed(reelgrid, here):
    path = make(here / "a.png")
    sign(path, PROVENANCE, self_signed_signer(Settings().data))
    code, out, _ = reelgrid("verify", path)
    assert (code, "self-signed: signed and unchanged" in out) == (0, True)


def test_changed_and_untrusted_files_are_exit_1(reelgrid, signed, here):
    (here / "other.pem").write_bytes(Authority().pem)
    code, out, _ = reelgrid("verify", signed, "--trust", "other.pem")
    assert (code, "untrusted: unchanged, but signed by Acme Video" in out) == (1, True)
    content = bytearray(signed.read_bytes())
    content[-5] ^= 1
    signed.write_bytes(content)
    code, out, _ = reelgrid("verify", signed)
    assert (code, "assertion.bmffHash.mismatch" in out) == (1, True)


def test_unsigned_is_exit_3_unmarked_4_and_not_media_2(reelgrid, here):
    assert reelgrid("verify", make(here / "a.webm"))[0] == 3
    from PIL import Image

    Image.new("RGB", (8, 8)).save(here / "plain.png")
    assert reelgrid("verify", "plain.png")[0] == 4
    (here / "a.txt").write_text("text", encoding="utf-8")
    for name in ("a.txt", "none.mp4"):
        code, _, err = reelgrid("verify", name)
        assert (code, err.count("\n")) == (2, 1)


def test_a_prompt_can_be_checked(reelgrid, signed):
    code, out, _ = reelgrid("verify", signed, "--prompt", PROVENANCE.prompt)
    assert (code, "matches" in out) == (0, True)
    code, out, _ = reelgrid("verify", signed, "--prompt", "another")
    assert (code, "does not match" in out) == (1, True)


def test_json_has_verdict_claims_and_problems(reelgrid, signed):
    printed = json.loads(reelgrid("verify", signed, "--json", "--trust", "trust.pem")[1])
    assert printed["verdict"] == "trusted"
    assert printed["kind"] == "video/mp4"
    assert printed["claims"]["model"] == "embedded"
    assert printed["problems"] == []


def test_a_trust_file_without_certificates_is_refused(reelgrid, signed, here):
    (here / "empty.pem").write_text("nothing", encoding="utf-8")
    code, _, err = reelgrid("verify", signed, "--trust", "empty.pem")
    assert (code, "contains no certificate in PEM" in err) == (2, True)
