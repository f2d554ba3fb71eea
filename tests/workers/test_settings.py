from dataclasses import replace
from pathlib import Path

import pytest

from reelgrid.errors import RequestError
from reelgrid.workers.habits import WorkerIntervals
from reelgrid.workers.pipes import Ends
from reelgrid.workers.settings import WorkerSettings, parse

SETTINGS = WorkerSettings(
    database="postgresql://user:secret@host/name",
    blobs="s3://key:secret@bucket/prefix",
    scratch=Path("/data/scratch"),
    models=("embedded", "wan2.1-t2v-1.3b"),
    device="cuda:1",
    dtype="bfloat16",
    trace=Path("/data/a journal"),
    grace_s=3.5,
    log_level="INFO",
    intervals=WorkerIntervals(
        lease_s=9.0,
        heartbeat_every_s=2.0,
        checkpoint_every_s=0.5,
        between_failures_s=60.0,
        preview_every_s=None,
        prompts_in_metadata=True,
    ),
)


def test_a_worker_is_told_what_was_said():
    command = SETTINGS.command(7)("name", Ends(3, 4))
    started = parse(command[3:], SETTINGS.environment)
    assert (started.name, started.ends) == ("name", Ends(3, 4))
    assert started.settings.intervals == SETTINGS.intervals
    assert started.settings.scratch == Path("/data/scratch/7")
    for field in ("database", "blobs", "models", "device", "dtype", "journal", "grace_s"):
        assert getattr(started.settings, field) == getattr(SETTINGS, field)


def test_no_password_is_on_the_command_line():
    assert "secret" not in " ".join(SETTINGS.command(0)("name", Ends(3, 4)))


def test_a_worker_by_hand_needs_no_pipes():
    started = parse(["--database=d", "--blobs=b", "--scratch=s"], {})
    assert started.ends is None
    assert started.settings.intervals == WorkerIntervals()


@pytest.mark.parametrize("missing", ["database", "blobs"])
def test_a_worker_has_to_know_where_to_work(missing):
    given = {"database": "d", "blobs": "b"} | {missing: ""}
    flags = [f"--{name}={value}" for name, value in given.items() if value]
    with pytest.raises(RequestError, match=f"give --{missing}"):
        parse([*flags, "--scratch=s"], {})


def test_habits_that_cannot_be_are_one_line():
    flags = ["--database=d", "--blobs=b", "--scratch=s", "--lease-s=1"]
    with pytest.raises(RequestError, match="does not keep a lease"):
        parse(flags, {})


def test_a_worker_finds_the_certificate_in_the_data_folder_that_it_is_told_of():
    assert "REELGRID_DATA" not in SETTINGS.environment
    told = replace(SETTINGS, data=Path("/data"))
    assert told.environment["REELGRID_DATA"] == "/data"
