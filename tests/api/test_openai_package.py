"""The unmodified openai package, oldest and newest, against `reelgrid serve` with a real worker."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from reelgrid.jobs.job import Limits
from reelgrid.jobs.keys import Keys
from reelgrid.jobs.sql import open_database
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
    database = open_database(data / "desk.sqlite")
    _, key = Keys(database).create("one")
    _, other_key = Keys(database).create("other", Limits(max_steps=8, max_jobs=2))
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
