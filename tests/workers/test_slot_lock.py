import subprocess
import sys

import pytest

from reelgrid.errors import BusyError
from reelgrid.workers.slot_lock import hold_slot

HOLDS = """
import sys, time
from pathlib import Path
from reelgrid.workers.slot_lock import hold_slot
with hold_slot(Path(sys.argv[1]), "first", print):
    print("there", flush=True)
    time.sleep(600)
"""


def test_the_first_worker_has_no_predecessor(tmp_path):
    ended: list[str] = []
    with hold_slot(tmp_path / "0", "first", ended.append):
        assert ended == []


def test_a_worker_that_was_killed_is_known_by_name_to_the_next(tmp_path):
    scratch = tmp_path / "scratch" / "0"
    command = [sys.executable, "-c", HOLDS, str(scratch)]
    ended: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        first.stdout.readline()
        waits: list[float] = []
        with (
            pytest.raises(BusyError),
            hold_slot(scratch, "second", ended.append, patience_s=0.2, sleep=waits.append),
        ):
            pass
        assert sum(waits) >= 0.2
        assert ended == []
        first.kill()
        first.wait()
        with hold_slot(scratch, "second", ended.append):
            assert ended == ["first"]


def test_a_worker_that_dies_before_it_has_ended_those_leases_leaves_them_to_its_successor(tmp_path):
    with hold_slot(tmp_path / "0", "first", print):
        pass

    def die(name):
        raise OSError(name)

    with pytest.raises(OSError, match="first"), hold_slot(tmp_path / "0", "second", die):
        pass
    ended: list[str] = []
    with hold_slot(tmp_path / "0", "third", ended.append):
        assert ended == ["first"]


def test_workers_of_other_slots_are_nobody_s_predecessors(tmp_path):
    ended: list[str] = []
    with (
        hold_slot(tmp_path / "0", "a", ended.append),
        hold_slot(tmp_path / "1", "b", ended.append),
    ):
        assert ended == []
