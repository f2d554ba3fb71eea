"""Database access: SQLite or PostgreSQL, transactions, clock, prepared statements, error translation.

SQLite runs in WAL mode, and every writing transaction begins with `BEGIN IMMEDIATE`: it waits for its turn
at the start and is never refused half way. `synchronous=FULL` flushes the log at every commit: committed
data survives `kill -9` and, if the disk does not lie about its cache, a loss of power. (`NORMAL` would make
a commit 0.16 ms cheaper on the machine of the benchmark, and could lose the last commits with the power.)
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
from reelgrid.jobs.sql.write_lock import WriteLock

if TYPE_CHECKING:
    from sqlalchemy import Table

LOCK_TIMEOUT_S = 10.0
"""How long a transaction waits for others before it gives up."""

IDLE_TRANSACTION_S = 5.0
"""PostgreSQL ends the transaction of a process that was stopped within it after this long.

On SQLite the lock of a stopped process is only released when the process is killed.
"""

# A subselect is read once for a statement, so that an index can be searched by it; the bare function
# would be called for every row of the index. now() would be the time when the transaction began.
_CLOCKS = {
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
    "postgresql": "(SELECT EXTRACT(EPOCH FROM clock_timestamp())::double precision)",
}
_BUSY_STATES = {
    "23505",  # the same idempotency key twice at once, one on either side of midnight
    "25P03",  # stopped within a transaction for longer than IDLE_TRANSACTION_S
    "40001",  # serialization failure
    "40P01",  # deadlock
    "55P03",  # no lock within LOCK_TIMEOUT_S
}
_FULL_STATES = {"53100"}
_RETRY_S = 0.01
_IMMEDIATE = "reelgrid_immediate"
_MAX_PREPARED = 500
_MAX_IDLE_LOG_BYTES = 64 << 20  # a long reader lets the log grow; it shrinks again to this
_LOCKED = "the database {} is held by another transaction: try again"

T = TypeVar("T")


class Database:
    """A database, used from several threads; each transaction has a connection of its own.

    Args:
        url: `sqlite:///file`, `postgresql://...`, or the path of an SQLite file.
        clock: An SQL expression for the time in Unix seconds, instead of the database's clock.
    """

    def __init__(self, url: str | Path, *, clock: str | None = None) -> None:
        self.url = _parse(url)
        self.dialect = self.url.get_backend_name()
        self._engine = _make_engine(self.url)
        self._file_id: tuple[int, int] | None = None
        self._write_lock = _make_write_lock(self.url) if self.is_sqlite else None
        self._prepared: dict[tuple[Any, ...], Any] = {}
        self.now: ColumnElement[float] = literal_column(clock or _CLOCKS[self.dialect], Float())

    @property
    def is_sqlite(self) -> bool:
        """Whether it is an SQLite file."""
        return self.dialect == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield the connection of a transaction that only reads."""
        with self._translated(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Yield a transaction's connection: committed at the end of the block, rolled back if it raises."""
        with self._translated(), self._writer(), self._engine.connect() as connection:
            connection = connection.execution_options(**{_IMMEDIATE: True})
            with connection.begin():
                self._check_file()
                yield connection

    def _check_file(self) -> None:
        """Refuse to write into a file that was removed or replaced: the data would be lost.

        Raises:
            JobQueueError: It was.
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
        """Return an insert that can become an update of an existing row."""
        return sqlite_dialect.insert(table) if self.is_sqlite else postgresql.insert(table)

    def prepared(self, build: "Callable[..., T]", *shape: Hashable) -> T:
        """Return the statement that a function builds for this database, built the first time only.

        Building a statement and finding its compiled form takes longer than running it.

        Args:
            build: Called with the database and the shape.
            shape: What the statement itself depends on; values are its parameters.
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
        if self._write_lock is not None:
            self._write_lock.close()

    def _writer(self) -> AbstractContextManager[None]:
        return nullcontext() if self._write_lock is None else self._write_lock.hold(LOCK_TIMEOUT_S)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except PoolTimeoutError:
            raise BusyError(f"the database {self} has no connection free: try again") from None
        except TimeoutError:
            raise BusyError(_LOCKED.format(self)) from None
        except DBAPIError as error:
            raise self._explain(error) from error

    def _explain(self, error: DBAPIError) -> BusyError | JobQueueError:
        """Return the error of the tree for an error of the database, in one line."""
        text = str(error.orig).strip().splitlines()[0]
        state = getattr(error.orig, "sqlstate", None)
        if state in _BUSY_STATES or "database is locked" in text:
            return BusyError(_LOCKED.format(self))
        if error.connection_invalidated:
            return BusyError(f"the connection to the database {self} was lost: try again")
        if state in _FULL_STATES or "disk is full" in text:
            return StorageFullError(
                f"the database {self} cannot grow, its disk is full: free some space"
            )
        return JobQueueError(f"the database {self} refused: {text}")

    def __str__(self) -> str:
        return self.url.database or "" if self.is_sqlite else self.url.render_as_string()


def _select_now(database: Database) -> Select[float]:
    return select(database.now)


def _make_write_lock(url: URL) -> WriteLock:
    return WriteLock(Path(f"{url.database}-lock"))


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
        raise RequestError(
            f"the job queue cannot use {backend}: use sqlite:///FILE or postgresql://..."
        )
    return parsed.set(drivername="postgresql+psycopg" if backend == "postgresql" else "sqlite")


def _make_engine(url: URL) -> Engine:
    try:
        if url.get_backend_name() == "sqlite":
            return _make_sqlite(url)
        return create_engine(
            url,
            pool_size=8,
            max_overflow=24,
            pool_timeout=LOCK_TIMEOUT_S,
            pool_pre_ping=True,
            isolation_level="READ COMMITTED",  # whatever the server's default is
            connect_args={
                "connect_timeout": int(LOCK_TIMEOUT_S),
                "options": " ".join(f"-c {name}={value}" for name, value in _session().items()),
            },
        )
    except (ImportError, NoSuchModuleError):
        raise JobQueueError(
            'PostgreSQL needs the package psycopg: pip install "reelgrid[serve]"'
        ) from None


def _session() -> dict[str, object]:
    return {
        "lock_timeout": int(LOCK_TIMEOUT_S * 1000),
        "idle_in_transaction_session_timeout": int(IDLE_TRANSACTION_S * 1000),
        "timezone": "UTC",
    }


def _make_sqlite(url: URL) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise RequestError(
            "the job queue needs a file: an SQLite database in memory is lost at once"
        )
    engine = create_engine(
        url,
        pool_size=32,  # kept: each new connection reads the tables anew
        max_overflow=0,
        pool_use_lifo=True,
        pool_timeout=LOCK_TIMEOUT_S,
        connect_args={"timeout": LOCK_TIMEOUT_S, "check_same_thread": False},
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun below
    connection.execute(f"PRAGMA busy_timeout={int(LOCK_TIMEOUT_S * 1000)}")
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(f"PRAGMA journal_size_limit={_MAX_IDLE_LOG_BYTES}")
    connection.execute("PRAGMA foreign_keys=ON")


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Switch a new file to WAL; SQLite refuses a second process at once instead of letting it wait."""
    give_up_s = time.monotonic() + LOCK_TIMEOUT_S
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
