import errno
import shutil
from collections import namedtuple

import pytest

from reelgrid.errors import GenerationError, StorageFullError
from reelgrid.store.blobs import Blobs
from reelgrid.workers.results import StoreUnavailableError, may_retry

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
def test_a_full_disk_is_known_by_its_error_number(error, tmp_path, blobs):
    assert may_retry(error, tmp_path, blobs)


TOO_LARGE, DENIED = OSError(errno.EFBIG, "too large"), OSError(errno.EACCES, "no")


@pytest.mark.parametrize(
    ("error", "free"),
    [
        (GenerationError("no"), 10**9),
        (caused_by(DENIED), 10**9),
        (caused_by(DENIED), 4096),
        (caused_by(TOO_LARGE), 10**9),
        (caused_by(TOO_LARGE), 4096),
    ],
)
def test_other_errors_do_not_pass(error, free, tmp_path, blobs, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9 - free, free))
    assert not may_retry(error, tmp_path, blobs)


def test_an_error_without_a_reason_on_a_full_disk_may_pass(tmp_path, blobs, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9 - 4096, 4096))
    assert may_retry(GenerationError("no reason given"), tmp_path, blobs)
