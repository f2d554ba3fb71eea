"""The desk over SQLite and PostgreSQL: the same statements on both."""

import logging
from pathlib import Path

from reelgrid.errors import JobQueueError, RequestError
from reelgrid.jobs.sql import recovery
from reelgrid.jobs.sql.client_queue import SqlClientQueue
from reelgrid.jobs.sql.database import Database, find_network
from reelgrid.jobs.sql.migrations import migrate
from reelgrid.jobs.sql.operator_queue import SqlOperatorQueue
from reelgrid.jobs.sql.worker_queue import SqlWorkerQueue

_log = logging.getLogger(__name__)

FILE = "jobs.sqlite"
"""Name of the desk's database in the data folder."""


class SqlJobQueue(SqlClientQueue, SqlWorkerQueue, SqlOperatorQueue):
    """Implements `job_queue.JobQueue`: the three sides of it on one database.

    Args:
        database: Migrated; the desk closes it.
        max_losses: A job that loses so many workers at one spot is given up.
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
    """Return the database with the tables of this version, made or brought up to date if need be.

    Args:
        url: `postgresql://...`, `sqlite:///FILE`, the path of an SQLite file, or a data folder.
        must_exist: Refuse to make a new SQLite file.

    Raises:
        JobQueueError: It cannot be opened, or was made by a newer version.
        RequestError: There is no such file, and it must exist; or the URL is of another kind.
    """
    place = url / FILE if isinstance(url, Path) and url.is_dir() else _as_path(url)
    if isinstance(place, Path):
        if must_exist and not place.exists():
            raise RequestError(f"there is no desk at {place}: start `reelgrid serve` first")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JobQueueError(f"{place.parent} cannot be made: {error.strerror}") from None
        _warn_of_network(place)
    database = Database(place)
    migrate(database)
    return database


def _warn_of_network(place: Path) -> None:
    kind = find_network(place)
    if kind is not None:
        _log.warning(
            "the desk %s lies on %s, a network file system: SQLite keeps nothing safe there as soon as "
            "two machines use it; take a local folder, or PostgreSQL",
            place,
            kind,
        )


def _as_path(url: str | Path) -> str | Path:
    """Return the file that a text names, if it is one."""
    if isinstance(url, Path):
        return url
    if url.startswith("sqlite:///"):
        return Path(url.removeprefix("sqlite:///"))
    return url if "://" in url else Path(url)


def open_job_queue(
    url: str | Path, *, max_losses: int = recovery.MAX_LOSSES, must_exist: bool = False
) -> SqlJobQueue:
    """Return the desk at an address; see `open_database`."""
    return SqlJobQueue(open_database(url, must_exist=must_exist), max_losses=max_losses)
