import hashlib
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import c2pa
import pytest
from PIL import Image

from reelgrid.errors import GenerationError, RequestError
from reelgrid.media import (
    Verdict,
    manifest,
    manifest_claims,
    read_provenance,
    sign,
    verify,
    write_clip,
    write_image,
)
from tests.files import names
from tests.media.certificates import KEYS, Authority
from tests.media.clips import PROVENANCE, rolling_ball
from tests.media.test_clip_writer import read_frames
from tests.media.unsigned import without_manifest

SIGNABLE = ["a.mp4", "a.png", "a.webp", "a.jpg", "a.gif"]
FRAMES = rolling_ball(5, 128, 64)
AUTHORITY = Authority()


def make(path):
    if path.suffix in {".png", ".jpg"}:
        write_image(FRAMES[0], path, provenance=PROVENANCE)
    else:
        write_clip(FRAMES, path, fps=8, provenance=PROVENANCE)
    return path


@pytest.fixture
def signer():
    return AUTHORITY.signer()


@pytest.fixture(params=SIGNABLE)
def signed(request, tmp_path, signer):
    path = make(tmp_path / request.param)
    sign(path, PROVENANCE, signer)
    return path


def test_a_signed_file_is_trusted_with_its_authority_among_the_anchors(signed):
    found = verify(signed, anchors_pem=AUTHORITY.pem)
    assert found.verdict is Verdict.TRUSTED
    assert found.signer == "Acme Video, Acme Video Ltd"
    assert not found.problems
    assert names(signed.parent) == [signed.name]


def test_the_manifest_names_software_and_model_and_never_the_prompt(signed):
    claims = verify(signed).claims
    assert claims["mark"] == "AI-generated"
    assert claims["model"] == PROVENANCE.model
    assert claims["seed"] == PROVENANCE.seed
    assert claims["prompt_sha256"] == hashlib.sha256(PROVENANCE.prompt.encode()).hexdigest()
    assert not {"prompt", "negative_prompt"} & claims.keys()
    with c2pa.Reader(str(signed)) as reader:
        active = reader.get_active_manifest()
    said = json.dumps(active)
    assert "ball" not in said
    actions = [each for each in active["assertions"] if each["label"] == "c2pa.actions.v2"]
    (created,) = actions[0]["data"]["actions"]
    assert created["action"] == "c2pa.created"
    assert created["digitalSourceType"].endswith("/trainedAlgorithmicMedia")
    assert created["softwareAgent"] == {"name": "reelgrid", "version": "0.0.0"}


def test_signing_changes_neither_pixels_nor_the_mark(signed, tmp_path):
    before = make(tmp_path / f"before{signed.suffix}")
    assert (read_frames(signed) == read_frames(before)).all()
    assert read_provenance(signed) == read_provenance(before)


def test_without_the_manifest_it_is_the_file_before_it_was_signed_byte_for_byte(signed, tmp_path):
    before = make(tmp_path / f"before{signed.suffix}").read_bytes()
    assert signed.read_bytes() != before
    assert without_manifest(signed) == before
    assert manifest_claims(signed)["unsigned_sha256"] == hashlib.sha256(before).hexdigest()
    assert without_manifest(tmp_path / f"before{signed.suffix}") == before


def test_two_signatures_of_one_generation_differ_and_their_claims_do_not(signed, signer, tmp_path):
    again = make(tmp_path / f"again{signed.suffix}")
    sign(again, PROVENANCE, signer)
    assert again.read_bytes() != signed.read_bytes()
    assert manifest_claims(again) == manifest_claims(signed)
    assert without_manifest(again) == without_manifest(signed)


def test_one_changed_byte_of_a_picture_is_found_and_named(signed):
    content = bytearray(signed.read_bytes())
    content[picture_byte(signed, content)] ^= 1
    signed.write_bytes(content)
    found = verify(signed, anchors_pem=AUTHORITY.pem)
    assert found.verdict is Verdict.TAMPERED
    assert {problem.code for problem in found.problems} & {
        "assertion.dataHash.mismatch",
        "assertion.bmffHash.mismatch",
    }


def picture_byte(path, content):
    """Return the position of a byte of the coded picture."""
    marks = {".mp4": b"mdat", ".png": b"IDAT", ".webp": b"VP8 ", ".jpg": b"\xff\xda"}
    if path.suffix == ".gif":
        return len(content) - 20
    return content.index(marks[path.suffix]) + 40


def test_a_changed_byte_anywhere_in_the_manifest_is_found(signed):
    """Every 97th byte of it, over all formats: several hundred."""
    whole = signed.read_bytes()
    start = whole.index(b"jumdc2pa")
    end = start + whole[start:].index(b"c2pa.signature")
    for place in range(start + 30, end, 97):
        content = bytearray(whole)
        content[place] ^= 1
        signed.write_bytes(content)
        assert verify(signed, anchors_pem=AUTHORITY.pem).verdict is Verdict.TAMPERED


def test_a_changed_claim_is_found(signed):
    content = signed.read_bytes()
    assert b"embedded" in content
    signed.write_bytes(content.replace(b"embedded", b"EMBEDDED"))
    assert verify(signed).verdict is Verdict.TAMPERED


def test_another_authority_is_not_trusted_and_without_any_the_file_is_only_intact(signed):
    assert verify(signed, anchors_pem=Authority().pem).verdict is Verdict.UNTRUSTED
    assert verify(signed).verdict is Verdict.VALID
    assert verify(signed, own_anchor_pem=Authority().pem).verdict is Verdict.VALID


def test_a_copy_of_the_signers_name_by_another_authority_is_not_trusted(tmp_path):
    path = make(tmp_path / "a.png")
    sign(path, PROVENANCE, Authority().signer())
    assert verify(path, anchors_pem=AUTHORITY.pem).verdict is Verdict.UNTRUSTED


def test_a_file_whose_certificate_has_expired_is_not_taken_for_a_changed_one():
    """Signed on 2026-11-23 with a certificate of two minutes."""
    here = Path(__file__).parent
    found = verify(here / "expired.png", anchors_pem=(here / "expired-ca.pem").read_bytes())
    assert found.verdict is Verdict.EXPIRED
    assert found.claims["seed"] == 2**63 - 1


def test_an_expired_certificate_signs_nothing(tmp_path):
    path = make(tmp_path / "a.png")
    before = path.read_bytes()
    with pytest.raises(GenerationError, match=r"a\.png could not be signed: .*not valid at time"):
        sign(path, PROVENANCE, AUTHORITY.signer(days=(-20, -10)))
    assert path.read_bytes() == before
    assert names(tmp_path) == ["a.png"]


def test_a_file_without_its_manifest_is_unsigned_and_without_metadata_unmarked(signed):
    signed.write_bytes(without_manifest(signed))
    found = verify(signed, anchors_pem=AUTHORITY.pem)
    assert found.verdict is Verdict.UNSIGNED
    assert found.mark["seed"] == PROVENANCE.seed


def test_an_image_of_another_program_is_unmarked(tmp_path):
    Image.fromarray(FRAMES[0]).save(tmp_path / "a.png")
    assert verify(tmp_path / "a.png").verdict is Verdict.UNMARKED


def test_a_manifest_taken_from_another_file_does_not_fit(tmp_path, signer):
    one, other = tmp_path / "one.png", tmp_path / "other.png"
    write_image(FRAMES[0], one, provenance=PROVENANCE)
    write_image(FRAMES[4], other, provenance=PROVENANCE)
    sign(one, PROVENANCE, signer)
    content, foreign = one.read_bytes(), other.read_bytes()
    start = content.index(b"caBX") - 4
    size = int.from_bytes(content[start : start + 4]) + 12
    other.write_bytes(foreign[:33] + content[start : start + size] + foreign[33:])
    assert verify(other, anchors_pem=AUTHORITY.pem).verdict is Verdict.TAMPERED


@pytest.mark.parametrize("content", [b"text", b"", b"<svg/>"])
def test_other_content_cannot_be_verified(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(RequestError, match="not an image or video of a known type"):
        verify(tmp_path / "a.mp4")
    with pytest.raises(RequestError, match="cannot be read"):
        verify(tmp_path / "none.mp4")


def test_an_extension_names_the_clip_it_was_made_from(tmp_path, signer):
    source, reference = make(tmp_path / "source.mp4"), make(tmp_path / "reference.png")
    sign(source, PROVENANCE, signer)
    made = make(tmp_path / "made.mp4")
    sign(made, PROVENANCE, signer, sources=[source, reference])
    found = verify(made, anchors_pem=AUTHORITY.pem)
    assert found.verdict is Verdict.TRUSTED
    assert found.num_sources == 2


def test_a_remix_that_is_signed_by_others_names_them_and_its_source(tmp_path, signer):
    """The c2pa package acts as another editor: it opens our file and signs the edited one."""
    ours = make(tmp_path / "ours.jpg")
    sign(ours, PROVENANCE, signer)
    theirs = Authority("Elsewhere").signer()
    edited = make(tmp_path / "edited.jpg")
    info = c2pa.C2paSignerInfo(theirs.algorithm, theirs.chain_pem, theirs.key_pem, None)
    settings = {"builder": {"intent": "edit", "thumbnail": {"enabled": False}}}
    manifest = {"claim_generator_info": [{"name": "editor", "version": "1"}]}
    with (
        c2pa.Context.from_dict(settings, signer=c2pa.Signer.from_info(info)) as context,
        c2pa.Builder(manifest, context=context) as builder,
        ours.open("rb") as parent,
        edited.open("rb") as source,
        (tmp_path / "remixed.jpg").open("w+b") as target,
    ):
        builder.add_ingredient({"relationship": "parentOf"}, "image/jpeg", parent)
        builder.sign("image/jpeg", source, target)
    found = verify(tmp_path / "remixed.jpg", anchors_pem=AUTHORITY.pem)
    assert found.verdict is Verdict.UNTRUSTED
    assert found.claims == {}  # the claims are those of the other signer
    assert found.num_sources == 1


@pytest.mark.parametrize("algorithm", KEYS)
def test_every_algorithm_signs(tmp_path, algorithm):
    path = make(tmp_path / "a.png")
    sign(path, PROVENANCE, AUTHORITY.signer(algorithm))
    assert verify(path, anchors_pem=AUTHORITY.pem).verdict is Verdict.TRUSTED


def test_a_format_without_manifests_is_refused_and_its_mark_is_read(tmp_path, signer):
    path = make(tmp_path / "a.webm")
    with pytest.raises(RequestError, match="cannot be signed"):
        sign(path, PROVENANCE, signer)
    assert verify(path).verdict is Verdict.UNSIGNED


def test_a_full_disk_leaves_the_file_unchanged(tmp_path, signer, monkeypatch):
    path = make(tmp_path / "a.png")
    before = path.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(GenerationError, match="No space left on device"):
        sign(path, PROVENANCE, signer)
    assert path.read_bytes() == before
    assert names(tmp_path) == ["a.png"]


@pytest.fixture
def asked():
    """The address of a server, and the requests that it received."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_error(404)

        def do_POST(self):
            self.do_GET()

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", paths
        server.shutdown()
        thread.join()


def test_verifying_asks_no_server_for_revocations(tmp_path, asked, monkeypatch):
    address, paths = asked
    path = make(tmp_path / "a.png")
    sign(path, PROVENANCE, AUTHORITY.signer(asks=f"{address}/ocsp"))
    assert verify(path, anchors_pem=AUTHORITY.pem).verdict is Verdict.TRUSTED
    assert paths == []
    monkeypatch.setitem(manifest._NO_NETWORK, "ocsp_fetch", True)
    verify(path, anchors_pem=AUTHORITY.pem)
    assert paths  # so a request would have been noticed


def test_a_remote_manifest_is_not_fetched(tmp_path, asked, signer):
    address, paths = asked
    info = c2pa.C2paSignerInfo(signer.algorithm, signer.chain_pem, signer.key_pem, None)
    manifest_json = {"claim_generator_info": [{"name": "editor", "version": "1"}]}
    source = make(tmp_path / "a.jpg")
    with (
        c2pa.Context.from_dict({}, signer=c2pa.Signer.from_info(info)) as context,
        c2pa.Builder(manifest_json, context=context) as builder,
        source.open("rb") as content,
        (tmp_path / "remote.jpg").open("w+b") as target,
    ):
        builder.set_intent(
            c2pa.C2paBuilderIntent.CREATE, c2pa.C2paDigitalSourceType.TRAINED_ALGORITHMIC_MEDIA
        )
        builder.set_no_embed()
        builder.set_remote_url(f"{address}/manifest.c2pa")
        builder.sign("image/jpeg", content, target)
    assert address.encode() in (tmp_path / "remote.jpg").read_bytes()
    assert verify(tmp_path / "remote.jpg").verdict in {Verdict.UNSIGNED, Verdict.UNMARKED}
    assert paths == []
    with pytest.raises(c2pa.C2paError):
        c2pa.Reader(str(tmp_path / "remote.jpg"))
    assert paths  # so a request would have been noticed


def test_without_the_package_it_is_one_line(tmp_path, signer, monkeypatch):
    path = make(tmp_path / "a.png")
    monkeypatch.setitem(sys.modules, "c2pa", None)
    with pytest.raises(RequestError, match=r'pip install "reelgrid\[serve\]"'):
        sign(path, PROVENANCE, signer)
