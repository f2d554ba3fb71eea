import os
import subprocess
import sys

import pytest

from reelgrid.errors import BusyError
from reelgrid.store.lock import is_locked, lock_file

HOLDER = """
import sys, time
from pathlib import Path
from reelgrid.store.lock import lock_file
with lock_file(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_is_seen_while_its_process_lives_and_gone_when_it_is_killed(tmp_path):
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert is_locked(path)
        with pytest.raises(BusyError, match="another process"), lock_file(path):
            pass
        holder.kill()
    assert not is_locked(path)
    with lock_file(path):
        assert is_locked(path)


def test_looking_at_a_lock_never_prevents_taking_it(tmp_path, monkeypatch):
    """The reader is interrupted after it has looked and before it has closed the file."""
    path = tmp_path / "lock"
    path.touch()
    taken: list[object] = []

    def close(handle):
        if not taken:
            taken.append(handle)
            with lock_file(path):
                taken.append("locked")
        really_close(handle)

    really_close = os.close
    monkeypatch.setattr(os, "close", close)
    assert not is_locked(path)
    assert taken[1:] == ["locked"]


def test_what_does_not_exist_is_not_locked(tmp_path):
    assert not is_locked(tmp_path / "none")
