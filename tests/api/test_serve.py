"""`reelgrid serve`: one line for every mistake, a stop within seconds, a restart that resumes."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from reelgrid.api.service import ServedModels
from reelgrid.catalog import find
from reelgrid.cli.app import run
from reelgrid.cli.http_server import warn_of_unserved_jobs
from reelgrid.workers.main import NICENESS
from tests.api.conftest import ApiServer
from tests.api.served import Served
from tests.jobs.postgres import postgres


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--host", "0.0.0.0"], "reelgrid keys create"),
        (["--host", "192.0.2.1"], "cannot listen"),
        (["--require-key"], "--require-key needs an API key"),
        (["--database", "mysql://x"], "cannot use mysql"),
        (["--database", "postgresql://127.0.0.1:1/x"], "database"),
        (["--model", "nope"], "no model 'nope'"),
        (["--blobs", "ftp://x"], "blobs"),
        (["--port", "70000"], "--port"),
    ],
)
def test_an_impossible_option_is_one_line(
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
    assert not (tmp_path / "jobs.sqlite").exists()


def test_a_missing_package_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REELGRID_DATA", str(tmp_path))
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert run(["serve", "--port", "0"]) == 2
    assert 'pip install "reelgrid[serve]"' in capsys.readouterr().err


def test_a_restarted_server_resumes_every_job(tmp_path: Path) -> None:
    with Served(tmp_path) as first:
        line = first.log.strip().splitlines()[-1]
        asked = subprocess.run(
            ["bash", "-c", line.replace("curl ", "curl -s ")],
            capture_output=True,
            text=True,
            check=True,
        )
        pasted = json.loads(asked.stdout)["id"]
        first.wait_for(pasted, status="completed")
        assert niceness_of_children(first.process.pid) == os.nice(0) + NICENESS
        job = first.ask("/videos", {"prompt": "a red ball", "num_inference_steps": 150})["id"]
        begun = first.wait_until(job, lambda seen: seen["step"] > 0)
        first.stop(signal.SIGINT)
    assert begun["step"] < 150
    with Served(tmp_path) as second:
        assert second.ask(f"/videos/{pasted}")["status"] == "completed"
        resumed = second.wait_until(job, lambda seen: seen["stage"] == "denoise")
        assert resumed["step"] >= begun["step"]
        assert second.wait_for(job, status="completed")["step"] == 150
        metrics = urllib.request.urlopen(second.url.removesuffix("/v1") + "/metrics").read()
        assert b'reelgrid_resumes_total{model="embedded"} 1.0' in metrics


def niceness_of_children(pid: int) -> int:
    """Return the niceness of the worker of a server."""
    told = subprocess.run(
        ["ps", "-A", "-o", "ppid=,ni="], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in told.stdout.splitlines()]
    return max(int(nice) for parent, nice in rows if parent == str(pid) and nice != "-")


def test_a_server_on_postgresql_makes_a_video(tmp_path: Path) -> None:
    with postgres() as url, Served(tmp_path, REELGRID_DATABASE=url) as served:
        job = served.ask("/videos", {"prompt": "a red ball", "num_inference_steps": 2})["id"]
        assert served.wait_for(job, status="completed")["progress"] == 100
    assert not (tmp_path / "jobs.sqlite").exists()


def test_jobs_of_a_model_that_is_no_longer_served_are_reported(
    api: ApiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with api.client() as client:
        for _ in range(2):
            client.post("/v1/videos", json={"prompt": "x"})
    warn_of_unserved_jobs(api.service)
    assert capsys.readouterr().err == ""
    other = find("wan2.1-t2v-1.3b")
    assert other is not None
    warn_of_unserved_jobs(replace(api.service, models=ServedModels((other,))))
    assert capsys.readouterr().err.startswith("2 unfinished jobs need embedded")
