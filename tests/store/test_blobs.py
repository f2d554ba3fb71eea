"""One contract for every kind of store; `REELGRID_TEST_BLOBS` adds a URL to it, such as S3's."""

import errno
import os
import resource
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pytest

from reelgrid.errors import RequestError, StorageFullError
from reelgrid.store.blobs import DISK_FULL, Blobs, is_transient

KINDS = ["folder", "memory", "dir::memory"]
if extra := os.environ.get("REELGRID_TEST_BLOBS"):
    KINDS.append(extra)


@pytest.fixture(params=KINDS)
def blobs(request, tmp_path):
    if request.param == "folder":
        return Blobs(tmp_path / "blobs")
    place = f"test-{uuid.uuid4().hex}"
    if request.param == "dir::memory":
        return Blobs(f"dir::memory://{place}")
    return Blobs(f"memory://{place}" if request.param == "memory" else f"{request.param}/{place}")


@pytest.fixture
def folder(tmp_path):
    return Blobs(tmp_path / "blobs")


def test_what_is_put_is_read(blobs):
    blobs.put("video_1/clip.mp4", b"0123456789")
    assert blobs.read("video_1/clip.mp4") == b"0123456789"
    assert blobs.size("video_1/clip.mp4") == 10
    assert blobs.exists("video_1/clip.mp4")


def test_a_file_is_put_by_its_path(blobs, tmp_path):
    content = os.urandom(3_000_000)
    (tmp_path / "a").write_bytes(content)
    blobs.put("a", tmp_path / "a")
    assert blobs.read("a") == content
    assert b"".join(blobs.stream("a")) == content
    assert (tmp_path / "a").read_bytes() == content


def test_putting_again_replaces(blobs):
    blobs.put("a", b"long before")
    blobs.put("a", b"after")
    assert blobs.read("a") == b"after"
    assert blobs.size("a") == 5


@pytest.mark.parametrize("start", [0, 3, 9, 10, 20])
@pytest.mark.parametrize("stop", [None, 20, 21, 30])
def test_a_range_is_what_a_slice_of_the_bytes_is(blobs, start, stop):
    content = b"0123456789"
    blobs.put("a", content)
    assert blobs.read("a", start, stop) == content[start:stop]
    assert b"".join(blobs.stream("a", start, stop)) == content[start:stop]


def test_an_open_blob_can_be_sought_by_several_readers_at_once(blobs):
    blobs.put("a", b"0123456789")
    with blobs.open("a") as one, blobs.open("a") as other:
        one.seek(5)
        assert other.read(2) == b"01"
        assert one.read(2) == b"56"


def test_a_blob_as_a_file_has_its_suffix_and_content(blobs):
    blobs.put("video_1/clip.mp4", b"whole")
    with blobs.as_file("video_1/clip.mp4") as path:
        assert path.suffix == ".mp4"
        assert path.read_bytes() == b"whole"
    assert blobs.exists("video_1/clip.mp4")


def test_what_is_missing_is_said_so_by_every_reader(blobs):
    assert not blobs.exists("none/such")
    for ask in (blobs.read, blobs.size, blobs.open, lambda name: list(blobs.stream(name))):
        with pytest.raises(FileNotFoundError):
            ask("none/such")
    with pytest.raises(FileNotFoundError), blobs.as_file("none/such"):
        pass


def test_deleting_twice_is_deleting_once(blobs):
    blobs.put("a", b"1")
    blobs.delete("a")
    blobs.delete("a")
    assert not blobs.exists("a")
    assert blobs.list() == []


def test_a_list_has_the_names_below_a_prefix_in_order_with_size_and_time(blobs):
    before_s = time.time() - 5
    for name in ("video_2/clip.mp4", "video_1/state", "video_1/clip.mp4", "image_1/a.png"):
        blobs.put(name, name.encode())
    assert [blob.name for blob in blobs.list()] == [
        "image_1/a.png",
        "video_1/clip.mp4",
        "video_1/state",
        "video_2/clip.mp4",
    ]
    listed = blobs.list("video_1/")
    assert [blobs.find(blob.name) for blob in listed] == listed
    assert blobs.find("video_1/none") is None
    assert [blob.size_bytes for blob in listed] == [16, 13]
    assert all(before_s < blob.modified_s < time.time() + 5 for blob in listed)
    assert blobs.total_bytes() == 13 + 16 + 13 + 16


@pytest.mark.parametrize(
    "prefix", ["", "v", "video_1", "video_1/", "video_1/s", "video_1/s/", "video_1/s/0", "w/x/"]
)
def test_a_prefix_is_how_a_name_begins(blobs, prefix):
    names = ["video_1/a.png", "video_1/s/00.bin", "video_1/s/01.bin", "video_10/a.png", "w/x"]
    for name in names:
        blobs.put(name, b"1")
    listed = [blob.name for blob in blobs.list(prefix)]
    assert listed == [name for name in names if name.startswith(prefix)]


def test_a_list_looks_into_no_other_folder(folder, tmp_path, monkeypatch):
    """A store holds the files of all jobs; the end of each job lists its own."""
    folder.put("files/video_1/clip.mp4", b"1")
    folder.put("files/video_2/clip.mp4", b"1")
    looked: list[Path] = []
    scandir = os.scandir

    def look(path):
        looked.append(Path(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", look)
    assert [blob.name for blob in folder.list("files/video_2/")] == ["files/video_2/clip.mp4"]
    assert tmp_path / "blobs" / "files" / "video_1" not in looked


def test_an_empty_store_has_nothing(blobs):
    assert blobs.list() == []
    assert blobs.list("video_1/") == []
    assert blobs.total_bytes() == 0


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../a",
        "a/../b",
        "a/..",
        ".",
        "..",
        ".hidden",
        "a//b",
        "a/",
        "A",
        "a b",
        "a\\b",
        "a\x00b",
        "a\n",
        "~/a",
        "c:a",
        "%2e%2e/a",
        "a.b/c",
        "a.tar.gz",
        "é",
        "a" * 300,
    ],
)
def test_a_name_that_could_lead_elsewhere_is_refused_by_every_verb(blobs, name):
    verbs = (blobs.read, blobs.open, blobs.size, blobs.exists, blobs.delete)
    for verb in (*verbs, lambda name: blobs.put(name, b"")):
        with pytest.raises(RequestError, match="is no name of a blob"):
            verb(name)


def test_readers_see_the_old_blob_or_the_new_one_while_it_is_replaced(blobs):
    old, new = b"a" * 300_000, b"b" * 200_000
    blobs.put("a", old)
    stop = threading.Event()

    def replace():
        while not stop.is_set():
            blobs.put("a", new)
            blobs.put("a", old)

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        assert {blobs.read("a") for _ in range(200)} <= {old, new}
    finally:
        stop.set()
        thread.join()


def test_a_reader_of_a_local_blob_that_is_deleted_reads_it_to_its_end(folder):
    content = os.urandom(2_500_000)
    folder.put("a", content)
    pieces = folder.stream("a")
    first = next(pieces)
    folder.delete("a")
    assert first + b"".join(pieces) == content


def test_free_bytes_are_the_disks(folder):
    free = folder.free_bytes()
    assert free is not None
    assert free > 0
    assert Blobs("memory://free").free_bytes() is None


def test_what_killed_writers_left_is_no_blob_and_is_tidied_when_old(folder, tmp_path):
    folder.put("video_1/clip.mp4", b"whole")
    root = tmp_path / "blobs"
    (root / "video_1" / ".0123.mp4").write_bytes(b"half")
    (root / "video_2").mkdir()
    assert [blob.name for blob in folder.list()] == ["video_1/clip.mp4"]
    assert folder.remove_leftovers(older_than_s=3600) == 0
    for path in (root / "video_1" / ".0123.mp4", root / "video_2", root / "video_1/clip.mp4"):
        os.utime(path, (0, 0))
    assert folder.remove_leftovers(older_than_s=3600) == 2
    assert folder.read("video_1/clip.mp4") == b"whole"


@pytest.mark.parametrize("url", ["http://example.com/a", "sftp://host/a", "nonsense://a"])
def test_a_store_that_cannot_promise_whole_blobs_is_refused(url):
    with pytest.raises(RequestError, match="cannot be kept at"):
        Blobs(url)


def test_a_missing_package_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(RequestError, match=r"gs:// need a package: .*gcsfs"):
        Blobs("gs://bucket/prefix")


WRITER = """
import sys
from pathlib import Path
from reelgrid.store.blobs import Blobs, is_transient
blobs = Blobs(sys.argv[1])
blobs.put("video_1/a", b"before")
try:
    blobs.put("video_1/a", Path(sys.argv[2]) if len(sys.argv) > 2 else bytes(100_000))
except OSError as error:
    print(error.strerror, is_transient(error))
"""


@pytest.mark.parametrize("is_path", [False, True])
def test_a_file_size_limit_is_no_full_disk_and_leaves_the_old_blob(tmp_path, is_path):
    """The system refuses for real, and waiting does not change that."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    (tmp_path / "big").write_bytes(bytes(100_000))
    arguments = [str(tmp_path / "blobs"), *([str(tmp_path / "big")] if is_path else [])]
    done = subprocess.run(
        [sys.executable, "-B", "-c", WRITER, *arguments],
        capture_output=True,
        text=True,
        preexec_fn=limit,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "File too large False\n"
    blobs = Blobs(tmp_path / "blobs")
    assert blobs.read("video_1/a") == b"before"
    assert [path.name for path in (tmp_path / "blobs").rglob("*")] == ["video_1", "a"]


@pytest.mark.parametrize("reason", sorted(DISK_FULL))
def test_a_full_disk_is_one_error_that_passes_and_nothing_half(folder, monkeypatch, reason):
    def full(*args):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(
        StorageFullError, match=f"{os.strerror(reason)}; nothing was left"
    ) as refused:
        folder.put("a", b"1")
    assert is_transient(refused.value)
    assert folder.list() == []


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (OSError(errno.ENOSPC, "full"), True),
        (ConnectionError("the store is out of reach"), True),
        (TimeoutError("no answer"), True),
        (OSError(errno.EFBIG, "too large for this file system"), False),
        (OSError(errno.EROFS, "read-only"), False),
        (PermissionError("Access Denied"), False),  # the error of s3fs for a revoked key
        (FileNotFoundError("The specified bucket does not exist"), False),
        (ValueError("a mistake of the program"), False),
    ],
)
def test_only_what_passes_by_itself_is_worth_waiting_for(error, passes):
    assert is_transient(error) is passes
