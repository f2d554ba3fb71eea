"""The database that the desk stands on: SQLite or PostgreSQL, its transactions, clock and errors.

SQLite runs in WAL mode, and every writing transaction begins with `BEGIN IMMEDIATE`, so that it
waits for its turn at the start and is never refused half way. `synchronous=FULL` flushes the log at
every commit: what was committed survives `kill -9` and, as far as the disk keeps what it says it has
written, the loss of power. (With `NORMAL` a commit would be 0.16 ms cheaper on the machine of the
benchmark, and the last ones could be gone after a loss of power.) Not here: tables (`schema`).

Whether a file lies on a drive of this machine, which SQLite needs: its log is shared memory.
"""

import sqlite3
import time
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Float,
    Select,
    create_engine,
    event,
    literal_column,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from reelgrid.errors import BusyError, JobQueueError, RequestError, StorageFullError
from reelgrid.jobs.sql.write_lock import Turnstile

if TYPE_CHECKING:
    from sqlalchemy import Table

PATIENCE_S = 10.0
"""How long a transaction waits for others before it gives up."""

FROZEN_S = 5.0
"""A process that was stopped within a transaction holds others up for so long; PostgreSQL only.

On SQLite nobody can take the file's lock away from it but who kills it.
"""

# A subselect is read once for a statement, so that an index can be searched by it; the bare function
# would be called for every row of the index. now() would be the time when the transaction began.
_CLOCKS = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "(SELECT EXTRACT(EPOCH FROM clock_timestamp())::double precision)",
}
_BUSY_STATES = {
    "23505",  # the same idempotency key twice at once, one on either side of midnight
    "25P03",  # stopped within a transaction for longer than FROZEN_S
    "40001",  # serialization failure
    "40P01",  # deadlock
    "55P03",  # no lock within PATIENCE_S
}
_FULL_STATES = {"53100"}
_RETRY_S = 0.01
_IMMEDIATE = "reelgrid_immediate"
_MAX_PREPARED = 500
_MAX_IDLE_LOG_BYTES = 64 << 20  # a long reader lets the log grow; it shrinks again to this
_HELD = "the database {} is held by another transaction: try again"

T = TypeVar("T")


class Database:
    """A database, reached from several threads; each transaction has its connection to itself.

    Args:
        url: `sqlite:///file`, `postgresql://...`, or the path of an SQLite file.
        clock: An SQL expression of the time in Unix seconds, in place of the database's own.
    """

    def __init__(self, url: str | Path, *, clock: str | None = None) -> None:
        self.url = _parse(url)
        self.dialect = self.url.get_backend_name()
        self._engine = _make_engine(self.url)
        self._file_id: tuple[int, int] | None = None
        self._turnstile = _make_turnstile(self.url) if self.is_sqlite else None
        self._prepared: dict[tuple[Any, ...], Any] = {}
        self.now: ColumnElement[float] = literal_column(clock or _CLOCKS[self.dialect], Float())

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of this machine."""
        return self.dialect == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads.

        Yields:
            The connection.
        """
        with self._translated(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction: committed at the end of the block, undone if the block raises.

        Yields:
            The connection.
        """
        with self._translated(), self._turn(), self._engine.connect() as connection:
            connection = connection.execution_options(**{_IMMEDIATE: True})
            with connection.begin():
                self._check_file()
                yield connection

    def _check_file(self) -> None:
        """Refuse to write into a file that has been removed or replaced: nobody would find it again.

        Raises:
            JobQueueError: It has been.
        """
        if not self.is_sqlite:
            return
        try:
            found = Path(str(self.url.database)).stat()
        except OSError:
            file_id = None
        else:
            file_id = found.st_dev, found.st_ino
        self._file_id = self._file_id or file_id
        if file_id is None or file_id != self._file_id:
            raise JobQueueError(
                f"the database {self} was removed or replaced while it was in use: put the file "
                "back, or start again"
            )

    def insert(self, table: "Table") -> sqlite_dialect.Insert | postgresql.Insert:
        """Return an insert that can update what is there instead."""
        return sqlite_dialect.insert(table) if self.is_sqlite else postgresql.insert(table)

    def prepared(self, build: "Callable[..., T]", *shape: Hashable) -> T:
        """Return the statement that a function builds of this database, built the first time only.

        Building a statement and finding its compiled form takes longer than running it.

        Args:
            build: Called with the database and the shape.
            shape: What the statement differs by; what its values differ by are its parameters.
        """
        try:
            found: T = self._prepared[build, *shape]
        except KeyError:
            if len(self._prepared) >= _MAX_PREPARED:
                self._prepared.clear()
            found = self._prepared[build, *shape] = build(self, *shape)
        return found

    def read_now(self, connection: Connection) -> float:
        """Return the time of the database, in Unix seconds."""
        return float(connection.execute(self.prepared(_select_now)).scalar_one())

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()
        if self._turnstile is not None:
            self._turnstile.close()

    def _turn(self) -> AbstractContextManager[None]:
        return nullcontext() if self._turnstile is None else self._turnstile.passing(PATIENCE_S)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except PoolTimeoutError:
            raise BusyError(f"the database {self} has no connection free: try again") from None
        except TimeoutError:
            raise BusyError(_HELD.format(self)) from None
        except DBAPIError as error:
            raise self._explain(error) from error

    def _explain(self, error: DBAPIError) -> BusyError | JobQueueError:
        """Return the one line for what the database refused."""
        text = str(error.orig).strip().splitlines()[0]
        state = getattr(error.orig, "sqlstate", None)
        if state in _BUSY_STATES or "database is locked" in text:
            return BusyError(_HELD.format(self))
        if error.connection_invalidated:
            return BusyError(f"the connection to the database {self} was lost: try again")
        if state in _FULL_STATES or "disk is full" in text:
            return StorageFullError(f"the database {self} cannot grow, its disk is full: make room")
        return JobQueueError(f"the database {self} refused: {text}")

    def __str__(self) -> str:
        return self.url.database or "" if self.is_sqlite else self.url.render_as_string()


def _select_now(database: Database) -> Select[float]:
    return select(database.now)


def _make_turnstile(url: URL) -> Turnstile:
    return Turnstile(Path(f"{url.database}-queue"))


def _parse(url: str | Path) -> URL:
    if isinstance(url, Path) or "://" not in url:
        return URL.create("sqlite", database=str(url))
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise RequestError(
            "the address of the database is no URL such as postgresql://user:word@host/name"
        ) from None
    backend = parsed.drivername.partition("+")[0].replace("postgres", "postgresql", 1)
    backend = "postgresql" if backend.startswith("postgresql") else backend
    if backend not in _CLOCKS:
        raise RequestError(f"no desk on {backend}: use sqlite:///FILE or postgresql://...")
    return parsed.set(drivername="postgresql+psycopg" if backend == "postgresql" else "sqlite")


def _make_engine(url: URL) -> Engine:
    try:
        if url.get_backend_name() == "sqlite":
            return _make_sqlite(url)
        return create_engine(
            url,
            pool_size=8,
            max_overflow=24,
            pool_timeout=PATIENCE_S,
            pool_pre_ping=True,
            isolation_level="READ COMMITTED",  # whatever the server's default is
            connect_args={
                "connect_timeout": int(PATIENCE_S),
                "options": " ".join(f"-c {name}={value}" for name, value in _session().items()),
            },
        )
    except (ImportError, NoSuchModuleError):
        raise JobQueueError(
            'PostgreSQL needs the package psycopg: pip install "reelgrid[serve]"'
        ) from None


def _session() -> dict[str, object]:
    return {
        "lock_timeout": int(PATIENCE_S * 1000),
        "idle_in_transaction_session_timeout": int(FROZEN_S * 1000),
        "timezone": "UTC",
    }


def _make_sqlite(url: URL) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise RequestError("the desk needs a file: an SQLite database in memory is lost at once")
    engine = create_engine(
        url,
        pool_size=32,  # kept: each new connection reads the tables anew
        max_overflow=0,
        pool_use_lifo=True,
        pool_timeout=PATIENCE_S,
        connect_args={"timeout": PATIENCE_S, "check_same_thread": False},
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun below
    connection.execute(f"PRAGMA busy_timeout={int(PATIENCE_S * 1000)}")
    _turn_to_wal(connection)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(f"PRAGMA journal_size_limit={_MAX_IDLE_LOG_BYTES}")
    connection.execute("PRAGMA foreign_keys=ON")


def _turn_to_wal(connection: sqlite3.Connection) -> None:
    """Switch a new file to WAL: two processes that do so at once are not made to wait, but refused."""
    give_up_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up_s:
                raise
            time.sleep(_RETRY_S)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    is_writing = connection.get_execution_options().get(_IMMEDIATE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")


_MOUNTS = Path("/proc/self/mountinfo")
_OVER_A_NETWORK = frozenset(
    {"9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "glusterfs", "lustre", "ncpfs"}
    | {"nfs", "nfs4", "smb3", "smbfs"}
)


def find_network(path: Path, mounts: Path = _MOUNTS) -> str | None:
    """Return the kind of network file system that a path lies on, or none, or none that is known.

    Args:
        path: Of a file or folder; what does not exist yet will lie where its parent does.
        mounts: A list as in proc(5), "/proc/pid/mountinfo": the fifth word of a line is where it is
            mounted, and the first behind the single hyphen is its kind.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        return None
    place = path.resolve()
    kinds: dict[Path, str] = {}
    for line in lines:
        where, _, what = line.partition(" - ")
        folder = where.split()[4].replace("\\040", " ")
        kinds[Path(folder)] = what.split()[0]
    nearest = next((each for each in (place, *place.parents) if each in kinds), None)
    kind = None if nearest is None else kinds[nearest]
    return kind if kind in _OVER_A_NETWORK else None
