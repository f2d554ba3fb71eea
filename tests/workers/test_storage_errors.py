import errno
import shutil
from collections import namedtuple

import pytest

from reelgrid.errors import GenerationError, StorageFullError
from reelgrid.store.blobs import Blobs
from reelgrid.workers.results import MIN_FREE_BYTES, StoreUnavailableError, may_retry

Usage = namedtuple("Usage", ["total", "used", "free"])


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "blobs")


def caused_by(cause):
    try:
        raise GenerationError("the file could not be written") from cause
    except GenerationError as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        StorageFullError("no room"),
        StoreUnavailableError("no answer"),
        OSError(errno.ENOSPC, "no space"),
        caused_by(OSError(errno.EDQUOT, "quota")),
    ],
)
def test_a_lack_of_room_is_known_by_its_number(error, tmp_path, blobs):
    assert may_retry(error, tmp_path, blobs)


@pytest.mark.parametrize(
    "error",
    [
        GenerationError("no"),
        caused_by(OSError(errno.EACCES, "no")),
        caused_by(OSError(errno.EFBIG, "too large")),
    ],
)
@pytest.mark.parametrize("free", [10**6, 10**9])
def test_other_failures_do_not_pass(error, free, tmp_path, blobs, monkeypatch):
    if free < MIN_FREE_BYTES and error.__cause__ is None:
        pytest.skip("a full disk explains an error without a reason")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9 - free, free))
    assert not may_retry(error, tmp_path, blobs)


def test_a_failure_without_a_reason_on_a_full_disk_is_one(tmp_path, blobs, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9 - 4096, 4096))
    assert may_retry(GenerationError("no reason given"), tmp_path, blobs)
