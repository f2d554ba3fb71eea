"""The job queue over SQLite and PostgreSQL, with the same statements on both, and how it is opened."""

import logging
from pathlib import Path

from reelgrid.errors import JobQueueError, RequestError
from reelgrid.jobs.sql import recovery
from reelgrid.jobs.sql.client_queue import SqlClientQueue
from reelgrid.jobs.sql.database import Database
from reelgrid.jobs.sql.migrations import migrate
from reelgrid.jobs.sql.operator_queue import SqlOperatorQueue
from reelgrid.jobs.sql.worker_queue import SqlWorkerQueue
from reelgrid.settings import DATABASE_FILE

_log = logging.getLogger(__name__)

_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK_FILESYSTEMS = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "glusterfs", "lustre", "ncpfs"}
    | {"nfs", "nfs4", "smb3", "smbfs"}
)


class SqlJobQueue(SqlClientQueue, SqlWorkerQueue, SqlOperatorQueue):
    """Implements `queue.JobQueue`: its three roles on one database.

    Args:
        database: Migrated; the queue closes it.
        max_losses: A job that loses so many workers at one stage and step fails.
    """

    def __init__(self, database: Database, *, max_losses: int = recovery.MAX_LOSSES) -> None:
        SqlClientQueue.__init__(self, database)
        SqlWorkerQueue.__init__(self, database, max_losses=max_losses)
        SqlOperatorQueue.__init__(self, database)
        self.database = database

    def close(self) -> None:
        """Close the connections."""
        self.database.close()


def open_database(url: str | Path, *, must_exist: bool = False) -> Database:
    """Return a database, with its tables created or migrated to this version if needed.

    Args:
        url: `postgresql://...`, `sqlite:///FILE`, the path of an SQLite file, or a data folder.
        must_exist: Refuse to create a new SQLite file.

    Raises:
        JobQueueError: It cannot be opened, or was written by a newer version.
        RequestError: The file must exist and does not, or the URL is of another kind.
    """
    if isinstance(url, Path) and url.is_dir():
        url = url / DATABASE_FILE
    database = Database(url)
    if database.is_sqlite:
        _prepare_file(Path(str(database)), must_exist=must_exist)
    migrate(database)
    return database


def _prepare_file(file: Path, *, must_exist: bool) -> None:
    if must_exist and not file.exists():
        raise RequestError(f"there is no job queue at {file}: start `reelgrid serve` first")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JobQueueError(f"{file.parent} cannot be created: {error.strerror}") from None
    kind = network_filesystem(file)
    if kind is not None:
        _log.warning(
            "the database %s is on %s, a network file system: SQLite is not safe there as soon as two "
            "machines use it; use a local folder, or PostgreSQL",
            file,
            kind,
        )


def open_job_queue(
    url: str | Path, *, max_losses: int = recovery.MAX_LOSSES, must_exist: bool = False
) -> SqlJobQueue:
    """Return the job queue at an address; see `open_database`."""
    return SqlJobQueue(open_database(url, must_exist=must_exist), max_losses=max_losses)


def network_filesystem(path: Path, mounts: Path = _MOUNTS) -> str | None:
    """Return the kind of the network file system that a path is on, or `None` if it is local or unknown.

    Args:
        path: A file or folder; one that does not exist yet will be where its parent is.
        mounts: A list as in proc(5), "/proc/pid/mountinfo": the fifth word of a line is the mount point,
            the first word after the single hyphen is the kind.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return None
    file = path.resolve()
    kinds: dict[Path, str] = {}
    for line in lines:
        where, _, what = line.partition(" - ")
        folder = where.split()[4].replace("\\040", " ")
        kinds[Path(folder)] = what.split()[0]
    nearest = next((each for each in (file, *file.parents) if each in kinds), None)
    kind = None if nearest is None else kinds[nearest]
    return kind if kind in _NETWORK_FILESYSTEMS else None
