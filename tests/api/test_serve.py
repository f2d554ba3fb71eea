"""The command: one line for every mistake, a stop that takes seconds, a restart that goes on."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from reelgrid.cli.app import run

STOP_S = 25


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--host", "0.0.0.0"], "reelgrid keys create"),
        (["--host", "192.0.2.1"], "cannot listen"),
        (["--require-key"], "a key is required"),
        (["--database", "mysql://x"], "no desk on mysql"),
        (["--database", "postgresql://127.0.0.1:1/x"], "database"),
        (["--model", "nope"], "no model 'nope'"),
        (["--blobs", "ftp://x"], "blobs"),
        (["--port", "70000"], "--port"),
    ],
)
def test_what_cannot_be_served_is_one_line(
    words: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("REELGRID_DATA", str(tmp_path))
    port = [] if "--port" in words else ["--port", "0"]
    assert run(["serve", *port, *words]) in {1, 2}
    said = capsys.readouterr().err.strip()
    assert says in said
    assert "\n" not in said


def test_a_port_that_is_taken_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REELGRID_DATA", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["serve", "--port", str(port)]) == 2
    assert f"127.0.0.1:{port}" in capsys.readouterr().err
    assert not (tmp_path / "desk.sqlite").exists()


def test_a_missing_package_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REELGRID_DATA", str(tmp_path))
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert run(["serve", "--port", "0"]) == 2
    assert 'pip install "reelgrid[serve]"' in capsys.readouterr().err


class Served:
    """A server in a process of its own."""

    def __init__(self, data: Path) -> None:
        self._log = data / "log"
        with self._log.open("w", encoding="utf-8") as written:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "reelgrid", "serve", "--port", "0"],
                env={**os.environ, "REELGRID_DATA": str(data), "OMP_NUM_THREADS": "1"},
                stderr=written,
            )
        while "ready on" not in self.log:
            assert self.process.poll() is None, self.log
            time.sleep(0.05)
        match = re.search(r"at (http://\S+)", self.log)
        assert match is not None
        self.url = match[1]

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def ask(self, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return dict(json.load(answer))

    def stop(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        assert self.process.wait(STOP_S) == 0, self.log

    def wait_for(self, job: str, **wanted: object) -> dict[str, Any]:
        while True:
            seen = self.ask(f"/videos/{job}")
            if all(seen[name] == value for name, value in wanted.items()):
                return seen
            assert seen["status"] != "failed", seen
            time.sleep(0.05)


def test_a_stopped_server_takes_up_everything_when_it_is_started_again(tmp_path: Path) -> None:
    first = Served(tmp_path)
    line = first.log.strip().splitlines()[-1]
    asked = subprocess.run(
        ["bash", "-c", line.replace("curl ", "curl -s ")],
        capture_output=True,
        text=True,
        check=True,
    )
    pasted = json.loads(asked.stdout)["id"]
    first.wait_for(pasted, status="completed")
    job = first.ask("/videos", {"prompt": "a red ball", "num_inference_steps": 80})["id"]
    while first.wait_for(job, status="in_progress")["step"] < 10:
        time.sleep(0.05)
    first.stop(signal.SIGINT)
    second = Served(tmp_path)
    assert second.ask(f"/videos/{pasted}")["status"] == "completed"
    resumed = second.wait_for(job, status="in_progress")
    assert resumed["step"] >= 10
    assert second.wait_for(job, status="completed")["step"] == 80
    second.stop(signal.SIGTERM)
