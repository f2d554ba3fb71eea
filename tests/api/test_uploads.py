"""Malicious uploads are refused, and the memory of the server does not grow with them."""

import asyncio
import io
import json
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from reelgrid.api.app import create_app
from reelgrid.api.service import ServerLimits
from tests.api import conftest
from tests.api.conftest import ApiServer

MIB = 2**20


def png(width: int = 64, height: int = 64) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(file, "PNG")
    return file.getvalue()


def bomb() -> bytes:
    """A PNG of 40,000 x 40,000 pixels in a few megabytes."""
    head = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 0, 0, 0, 0)
    rows = zlib.compressobj(9)
    data = b"".join(rows.compress(bytes(40_001)) for _ in range(40_000)) + rows.flush()
    chunks = ((b"IHDR", head), (b"IDAT", data), (b"IEND", b""))
    framed = (
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def many_streams(num: int = 10_000) -> bytes:
    """A WebM that says it has so many streams."""
    entry = b"\xae\x86\xd7\x81\x01\x83\x81\x01"  # TrackEntry: number 1, video
    tracks = entry * num
    size = (0x01 << 56 | len(tracks)).to_bytes(8, "big")
    head = b"\x1aE\xdf\xa3\x88\x42\x82\x85webm\x00"[:13]
    segment = b"\x18S\x80g\x01\xff\xff\xff\xff\xff\xff\xff" + b"\x16T\xaek" + size + tracks
    return head + segment


def send(client: TestClient, name: str, content: bytes, kind: str) -> tuple[int, str]:
    files: Any = {"prompt": (None, "x"), "input_reference": (name, content, kind)}
    answer = client.post("/v1/videos", files=files)
    return answer.status_code, (answer.json()["error"] or {}).get("message", "")


def test_an_uploaded_image_is_stored_as_a_png_without_its_metadata(
    client: TestClient, api: ApiServer
) -> None:
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    Image.new("RGB", (64, 64), "red").save(file, "JPEG", exif=exif)
    assert send(client, "../../../etc/cron.d/x", file.getvalue(), "image/png")[0] == 200
    (blob,) = api.service.blobs.list("inputs/")
    kept = api.service.blobs.read(blob.name)
    assert kept.startswith(b"\x89PNG")
    assert b"where I live" not in kept


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.png", b"hello " * 1000, "image/png"),
        ("a.png", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "image/png"),
        ("a.svg", b"<?xml version='1.0'?><!DOCTYPE svg [<!ENTITY a SYSTEM '/etc/passwd'>]>", "image/svg+xml"),
        ("a.png", b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "image/png"),
        ("a.png", png()[:-40], "image/png"),
        ("a.gif", b"GIF89a" + b"\0" * 100, "image/gif"),
    ],
    ids=["text", "svg", "entities", "zeros", "truncated", "gif"],
)  # fmt: skip
def test_a_file_that_is_not_an_image_is_refused(
    client: TestClient, api: ApiServer, name: str, content: bytes, kind: str
) -> None:
    status, message = send(client, name, content, kind)
    assert status == 400
    assert message
    assert not api.service.blobs.list()


def test_a_data_url_of_more_than_a_megabyte_is_accepted_in_a_form(client: TestClient) -> None:
    import base64
    import random

    noise = Image.frombytes("RGB", (800, 800), random.Random(1).randbytes(800 * 800 * 3))
    file = io.BytesIO()
    noise.save(file, "PNG")
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    assert len(url) > 2 * MIB
    answer = client.post(
        "/v1/videos", files={"prompt": (None, "x"), "input_reference[image_url]": (None, url)}
    )
    assert answer.status_code == 200, answer.text


class Sender:
    """Sends a file to the application in pieces, as a server would hand it over."""

    def __init__(self, app: Any, file: Path) -> None:
        self._app = app
        self._pieces = self._all_pieces(file)
        self.status = 0

    def _all_pieces(self, file: Path) -> Iterator[bytes]:
        disposition = b"Content-Disposition: form-data; name="
        yield b"--x\r\n" + disposition + b'"prompt"\r\n\r\nx\r\n'
        yield b"--x\r\n" + disposition + b'"input_reference"; filename="a.png"\r\n\r\n'
        with file.open("rb") as opened:
            while piece := opened.read(65_536):
                yield piece
        yield b"\r\n--x--\r\n"

    async def receive(self) -> dict[str, object]:
        piece = next(self._pieces, b"")
        return {"type": "http.request", "body": piece, "more_body": bool(piece)}

    async def send(self, message: dict[str, Any]) -> None:
        self.status = message.get("status", self.status)

    async def run(self) -> int:
        kind = (b"content-type", b"multipart/form-data; boundary=x")
        scope: dict[str, Any] = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": "/v1/videos",
        }
        scope |= {"query_string": b"", "headers": [(b"host", b"localhost"), kind], "scheme": "http"}
        await self._app(scope, self.receive, self.send)
        return self.status


def main() -> None:
    """Report the status and the growth of this process's memory, for each file of a folder."""
    folder = Path(sys.argv[1])
    build = conftest.build.__wrapped__(folder)  # type: ignore[attr-defined]  # the plain function
    api: ApiServer = next(build)(limits=ServerLimits(max_body_bytes=64 * MIB))
    app = create_app(api.service)
    found = {}
    for file in sorted(folder.glob("*.bin")):
        before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        status = asyncio.run(Sender(app, file).run())
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
        found[file.stem] = [status, grown_kib / 1024]
    sys.stdout.write(json.dumps(found))


def test_memory_stays_bounded_whatever_is_sent(tmp_path: Path) -> None:
    (tmp_path / "0_warm.bin").write_bytes(png())
    (tmp_path / "a_text.bin").write_bytes(b"no picture " * (60 * MIB // 11))
    (tmp_path / "b_bomb.bin").write_bytes(bomb())
    (tmp_path / "c_streams.bin").write_bytes(many_streams())
    done = subprocess.run(
        [sys.executable, "-m", "tests.api.test_uploads", str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("0_warm")[0] == 200
    assert set(found) == {"a_text", "b_bomb", "c_streams"}
    for name, (status, grown_mib) in found.items():
        assert status == 400, name
        assert grown_mib < 20, (name, grown_mib)


if __name__ == "__main__":
    main()
