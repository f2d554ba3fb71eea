"""The system refuses for real, in a process of its own: files may not grow beyond a limit."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.files import names

WRITER = """
import sys
from pathlib import Path
from reelgrid.errors import GenerationError
from reelgrid.media import write_clip
from tests.media.clips import PROVENANCE, rolling_ball
path = Path(sys.argv[1])
try:
    write_clip(rolling_ball(1 if path.suffix == ".png" else 9), path, fps=8, provenance=PROVENANCE)
except GenerationError as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif", "a.webp", "a.png", "a"])
def test_a_file_that_may_not_grow_leaves_nothing_behind(tmp_path, name):
    roomy, full = tmp_path / "roomy", tmp_path / "full"
    roomy.mkdir()
    full.mkdir()
    assert write_under_limit(roomy / name, 2**30) == ""  # as the others: in a process of its own
    largest = max(file.stat().st_size for file in roomy.rglob("*") if file.is_file())
    for limit_bytes in (100, largest - 1):
        assert "could not be written" in write_under_limit(full / name, limit_bytes)
        assert names(full) == []


def write_under_limit(path: Path, limit_bytes: int) -> str:
    """Return the output of a process that may write so many bytes to a file."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    done = subprocess.run(
        [sys.executable, "-B", "-c", WRITER, str(path)],
        capture_output=True,
        text=True,
        preexec_fn=limit,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
