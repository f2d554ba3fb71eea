"""Every command of the server's quickstart runs unchanged, against a real server."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "quickstart-serve.md"
has_weights = resources.files("reelgrid").joinpath("models/embedded/weights").is_dir()
pytestmark = pytest.mark.skipif(not has_weights, reason="the embedded model is not trained yet")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def commands() -> list[str]:
    lines = [line for block in blocks("console") for line in block.splitlines()]
    typed = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [line for line in typed if not re.search(r"pip install|reelgrid serve", line)]


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    bin_folder = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "REELGRID_DATA": str(tmp_path_factory.mktemp("data")),
        "PATH": os.pathsep.join((bin_folder, os.environ["PATH"])),
        "PYTHONWARNINGS": "ignore",
    }


@pytest.fixture(scope="module")
def address(environment) -> Iterator[str]:
    """The address of a server that was started with the page's own command, on a free port."""
    command = ["reelgrid", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stderr is not None
            first = server.stderr.readline()
            yield re.findall(r"http://[^/\s]+", first)[0]
        finally:
            server.terminate()
            server.communicate(timeout=60)


def test_every_line_of_python_runs(address, environment, tmp_path):
    script = "\n".join(blocks("python")).replace("http://127.0.0.1:8000", address)
    (tmp_path / "page.py").write_text(script, encoding="utf-8")
    done = run([sys.executable, "page.py"], environment, tmp_path)
    assert "completed 128x128 2.125" in done
    assert "image_generation.partial_image" in done
    assert "nearest: 2.12 s (17 frames)" in done
    assert (tmp_path / "ball.mp4").read_bytes()[4:8] == b"ftyp"


def test_every_command_for_a_shell_runs(address, environment, tmp_path):
    script = "\n".join(["set -eo pipefail", *commands()]).replace("http://127.0.0.1:8000", address)
    done = run(["bash", "-c", script.replace("curl ", "curl --fail ")], environment, tmp_path)
    assert "ball.mp4: self-signed: signed and unchanged" in done
    assert "prompt    matches" in done
    assert (tmp_path / "sheet.webp").read_bytes()[8:12] == b"WEBP"


def run(command: list[str], environment: dict[str, str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
