"""The desk over SQLite and PostgreSQL: the same statements on both."""

import logging
from pathlib import Path

from reelgrid.errors import DeskError, RequestError
from reelgrid.jobs import losing
from reelgrid.jobs.database import Database
from reelgrid.jobs.holding import SqlWorkers
from reelgrid.jobs.migrations import migrate
from reelgrid.jobs.neighbourhood import find_network
from reelgrid.jobs.owners import SqlOwners
from reelgrid.jobs.records import SqlBooks

_log = logging.getLogger(__name__)

FILE = "desk.sqlite"
"""Name of the desk's database in the data folder."""


class SqlDesk(SqlOwners, SqlWorkers, SqlBooks):
    """Implements `desk.Desk`: the three sides of it on one database.

    Args:
        database: Migrated; the desk closes it.
        max_losses: A job that loses so many workers at one spot is given up.
    """

    def __init__(self, database: Database, *, max_losses: int = losing.MAX_LOSSES) -> None:
        SqlOwners.__init__(self, database)
        SqlWorkers.__init__(self, database, max_losses=max_losses)
        SqlBooks.__init__(self, database)
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
        DeskError: It cannot be opened, or was made by a newer version.
        RequestError: There is no such file, and it must exist; or the URL is of another kind.
    """
    place = url / FILE if isinstance(url, Path) and url.is_dir() else _as_path(url)
    if isinstance(place, Path):
        if must_exist and not place.exists():
            raise RequestError(f"there is no desk at {place}: start `reelgrid serve` first")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DeskError(f"{place.parent} cannot be made: {error.strerror}") from None
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


def open_desk(
    url: str | Path, *, max_losses: int = losing.MAX_LOSSES, must_exist: bool = False
) -> SqlDesk:
    """Return the desk at an address; see `open_database`."""
    return SqlDesk(open_database(url, must_exist=must_exist), max_losses=max_losses)
