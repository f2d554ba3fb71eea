import logging
from pathlib import Path

import pytest

from reelgrid.jobs.sql import sql_queue
from reelgrid.jobs.sql.sql_queue import network_filesystem, open_job_queue

MOUNTS = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
31 22 0:40 / /mnt/films rw,relatime shared:9 master:2 - nfs4 server:/films rw
32 31 8:2 / /mnt/films/local rw - xfs /dev/sdb1 rw
33 22 0:41 / /mnt/two\040words rw - cifs //server/share rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/jobs.sqlite", None),
        ("/mnt/films/jobs.sqlite", "nfs4"),
        ("/mnt/films/local/jobs.sqlite", None),
        ("/mnt/filmsnot/jobs.sqlite", None),
        ("/mnt/two words/jobs.sqlite", "cifs"),
    ],
)
def test_the_nearest_mount_says_whether_there_is_a_network_between(
    path: str, kind: str | None, tmp_path: Path
) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS, encoding="utf-8")
    assert network_filesystem(Path(path), mounts) == kind


def test_where_no_list_of_mounts_is_nothing_is_said(tmp_path: Path) -> None:
    assert network_filesystem(tmp_path, tmp_path / "none") is None


def test_a_queue_on_a_network_drive_is_warned_of_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_queue, "network_filesystem", lambda _path: "nfs4")
    with caplog.at_level(logging.WARNING):
        open_job_queue(tmp_path).close()
    (record,) = caplog.records
    assert "is on nfs4, a network file system" in record.getMessage()
