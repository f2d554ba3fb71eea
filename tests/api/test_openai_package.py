"""The unmodified openai package, oldest and newest, against `reelgrid serve` with a real worker."""

import asyncio
import os
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import openai
import pytest

from reelgrid.api.app import create_app
from reelgrid.jobs.job import KeyLimits
from reelgrid.jobs.sql.keys import ApiKeys
from reelgrid.jobs.sql.sql_queue import open_database
from tests.api.conftest import ApiServer
from tests.api.served import Served

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("openai_script.py")
OLDEST = ROOT / ".venv" / "openai-2.3.0"


@dataclass(frozen=True)
class Server:
    base_url: str
    key: str
    other_key: str


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("served")
    database = open_database(data / "jobs.sqlite")
    _, key = ApiKeys(database).create("one")
    _, other_key = ApiKeys(database).create("other", KeyLimits(max_steps=8, max_jobs=2))
    database.close()
    with Served(data, "--model", "EMBEDDED", key=key) as served:
        yield Server(served.url, key, other_key)


@pytest.mark.parametrize("version", ["newest", "2.3.0"])
def test_the_package_works_unmodified(server: Server, version: str) -> None:
    if version != "newest" and not OLDEST.is_dir():
        pytest.skip("openai 2.3.0 is not installed: scripts/install --dev")
    path = {"PYTHONPATH": str(OLDEST)} if version != "newest" else {}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), server.base_url, server.key, server.other_key],
        env={**os.environ, **path},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expected = r"openai 3\." if version == "newest" else r"openai 2\.3\.0"
    assert re.search(expected, done.stdout)


def test_refusals_arrive_as_the_errors_of_the_package(api: ApiServer) -> None:
    async def main() -> None:
        transport = httpx2.ASGITransport(app=create_app(api.service))
        async with httpx2.AsyncClient(transport=transport) as http:
            client = openai.AsyncOpenAI(
                base_url="http://localhost/v1", api_key="none", http_client=http, max_retries=0
            )
            with failing(api), pytest.raises(openai.UnprocessableEntityError) as failed:
                await client.images.generate(prompt="a red ball")
            assert failed.value.code == "out_of_memory"
            lose_database(api)
            for call in (
                client.videos.retrieve("video_" + 24 * "0"),
                client.videos.create(prompt="x"),
                client.images.generate(prompt="x"),
            ):
                with pytest.raises(openai.InternalServerError) as broken:
                    await call
                assert (broken.value.status_code, broken.value.code) == (503, "queue_unavailable")
                assert broken.value.response.headers["retry-after"]
                assert broken.value.request_id

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the package deprecates its videos
        asyncio.run(main())


@contextmanager
def failing(api: ApiServer) -> Iterator[None]:
    """Fail every job while the block runs."""
    is_over = threading.Event()

    def fail() -> None:
        while not is_over.wait(0.02):
            if (claim := api.worker.take()) is not None:
                api.job_queue.fail(claim, "out_of_memory", "too large")

    thread = threading.Thread(target=fail)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def lose_database(api: ApiServer) -> None:
    """Put a folder where the database's file was."""
    api.job_queue.close()
    file = api.worker.folder.with_name("jobs.sqlite")
    for each in file.parent.glob("jobs.sqlite*"):
        each.unlink()
    file.mkdir()
