import subprocess
import sys

import pytest

from reelgrid.errors import BusyError
from reelgrid.fleet.predecessor import succeeding

HOLDS = """
import sys, time
from pathlib import Path
from reelgrid.fleet.predecessor import succeeding
with succeeding(Path(sys.argv[1]), "first"):
    print("there", flush=True)
    time.sleep(600)
"""


def test_the_first_worker_has_no_predecessor(tmp_path):
    with succeeding(tmp_path / "0", "first") as predecessor:
        assert predecessor is None


def test_a_worker_that_was_killed_is_known_by_name_to_the_next(tmp_path):
    scratch = tmp_path / "scratch" / "0"
    command = [sys.executable, "-c", HOLDS, str(scratch)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        first.stdout.readline()
        waits: list[float] = []
        with (
            pytest.raises(BusyError),
            succeeding(scratch, "second", patience_s=0.2, sleep=waits.append),
        ):
            pass
        assert sum(waits) >= 0.2
        first.kill()
        first.wait()
        with succeeding(scratch, "second") as predecessor:
            assert predecessor == "first"


def test_workers_of_other_places_are_nobody_s_predecessors(tmp_path):
    with succeeding(tmp_path / "0", "a"), succeeding(tmp_path / "1", "b") as predecessor:
        assert predecessor is None
