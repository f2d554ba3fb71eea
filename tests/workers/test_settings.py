from pathlib import Path

import pytest

from reelgrid.errors import RequestError
from reelgrid.workers.settings import WorkerIntervals, WorkerSettings

SETTINGS = WorkerSettings(
    name="worker-7",
    database="postgresql://user:secret@host/name",
    blobs="s3://key:secret@bucket/prefix",
    scratch=Path("/data/scratch/7"),
    models=("embedded", "wan2.1-t2v-1.3b"),
    device="cuda:1",
    dtype="bfloat16",
    data=Path("/data"),
    is_signed=False,
    prompts_in_metadata=True,
    trace=Path("/data/a trace"),
    grace_s=3.5,
    log_level="INFO",
    intervals=WorkerIntervals(
        lease_s=9.0,
        heartbeat_every_s=2.0,
        checkpoint_every_s=0.5,
        between_failures_s=60.0,
        preview_every_s=None,
    ),
)


def test_a_worker_reads_what_was_sent():
    assert WorkerSettings.read(SETTINGS.message()) == SETTINGS


def test_a_message_is_one_line():
    assert SETTINGS.message().count(b"\n") == 1
    assert SETTINGS.message().endswith(b"\n")


def test_no_password_is_shown():
    assert "secret" not in repr(SETTINGS)


def test_where_to_work_is_all_that_a_message_has_to_say():
    read = WorkerSettings.read(b'{"database": "d", "blobs": "b", "scratch": "s"}')
    assert read.intervals == WorkerIntervals()
    assert read.models == ("embedded",)
    assert read.name


@pytest.mark.parametrize("missing", ["database", "blobs", "scratch"])
def test_a_worker_has_to_know_where_to_work(missing):
    fields = {"database", "blobs", "scratch"} - {missing}
    message = "{" + ", ".join(f'"{name}": "x"' for name in fields) + "}"
    with pytest.raises(RequestError, match=rf"settings are wrong in '{missing}'") as raised:
        WorkerSettings.read(message.encode())
    assert raised.value.param == missing


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ('"shelf": 1', "in 'shelf'"),
        ('"intervals": {"lease_s": 1}', "cannot keep a lease of 1 s"),
        ('"intervals": {"checkpoint_every_s": -1}', "in 'intervals.checkpoint_every_s'"),
        ('"intervals": {"between_failures_s": 0}', "in 'intervals.between_failures_s'"),
        ("", "JSON"),
    ],
)
def test_settings_that_cannot_be_are_one_line(more, reason):
    message = f'{{"database": "password", "blobs": "b", "scratch": "s", {more}}}'
    with pytest.raises(RequestError, match=reason) as raised:
        WorkerSettings.read(message.encode())
    assert "\n" not in str(raised.value)
    assert "password" not in str(raised.value)
