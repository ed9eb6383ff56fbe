"""Database connections: engine settings, write() and read()."""

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url

from app.db.outages import note_outage

# A writer waits this long for other writers.
BUSY_TIMEOUT_S = 20
_CONNECT_TIMEOUT_S = 5
# PostgreSQL ends a transaction of a frozen process, which would keep its locks.  We never let so
# much time pass between two statements.
_IDLE_IN_TRANSACTION_S = 30
# Page cache of each connection: -N is N KiB.
_CACHE = "-16384"

_PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": "2",  # FULL: a commit is on the disk when it returns
    "foreign_keys": "1",
    "busy_timeout": str(BUSY_TIMEOUT_S * 1000),
    "cache_size": _CACHE,
}


class WrongPragma(RuntimeError):
    """SQLite does not keep a setting that durability depends on."""


class Database:
    """An SQLite or PostgreSQL database.  Threads may share it, forked processes may not."""

    def __init__(self, url: str, *, pool_size: int = 40) -> None:
        self.engine = _make_engine(url, pool_size)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        # True once verify_database() has passed.
        self.verified = False
        # By default PostgreSQL gives each statement its own snapshot; a read() needs one for all.
        self._reading = (
            self.engine
            if self.is_sqlite
            else self.engine.execution_options(isolation_level="REPEATABLE READ")
        )
        self._writing = self.engine.execution_options(writes=True)
        # SQLite has one writer: threads of a process wait here instead of polling the file.
        self._write_lock = threading.Lock() if self.is_sqlite else contextlib.nullcontext()

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction: committed at the end of the block, rolled back on an exception."""
        with self._write_lock, self._writing.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a connection that sees one snapshot of the database and changes nothing."""
        with self._reading.connect() as connection:
            yield connection

    def close(self) -> None:
        """Close idle connections."""
        self.engine.dispose()


def insert_new(tx: Connection, table: type[Any], **values: Any) -> bool:
    """Insert a row unless its key exists.  Returns True if it was inserted."""
    build = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    statement = build(table).values(**values).on_conflict_do_nothing()
    # Without the option SQLAlchemy does not keep the row count of an INSERT.
    return tx.execute(statement.execution_options(preserve_rowcount=True)).rowcount == 1


def make_upserts(
    table: Table, *, add: Sequence[str] = (), replace: Sequence[str] = ()
) -> Mapping[str, Any]:
    """Make the statement, by dialect, that inserts rows and updates those whose key exists.

    Columns in `add` then grow by the new row's values; columns in `replace` take them over.
    """
    upserts = {}
    for dialect, build in (("sqlite", sqlite.insert), ("postgresql", postgresql.insert)):
        statement = build(table)
        new = statement.excluded
        values = {name: table.c[name] + new[name] for name in add}
        values |= {name: new[name] for name in replace}
        key = list(table.primary_key)
        upserts[dialect] = statement.on_conflict_do_update(index_elements=key, set_=values)
    return upserts


def _make_engine(url: str, pool_size: int) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        engine = create_engine(
            parsed,
            connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT_S},
            pool_size=pool_size,
            max_overflow=100,
            hide_parameters=True,
        )
        event.listen(engine, "do_connect", _keep_private)
        event.listen(engine, "connect", _set_pragmas)
        event.listen(engine, "begin", _begin_sqlite)
        event.listen(engine, "handle_error", note_outage)
        return engine
    engine = create_engine(
        parsed,
        connect_args={"connect_timeout": _CONNECT_TIMEOUT_S, "application_name": "clarion"},
        pool_size=pool_size,
        max_overflow=100,
        pool_pre_ping=True,
        hide_parameters=True,  # error messages would hold phone numbers and texts
    )
    event.listen(engine, "connect", _bound_idle_transactions)
    event.listen(engine, "handle_error", note_outage)
    return engine


def _bound_idle_transactions(connection: Any, _: Any) -> None:
    connection.execute(f"SET idle_in_transaction_session_timeout = '{_IDLE_IN_TRANSACTION_S}s'")
    connection.commit()


def _keep_private(_: Any, __: Any, arguments: Sequence[str], ___: Any) -> None:
    """Let only the owner read the files of the database, which hold numbers and texts.

    SQLite gives its other files the mode of the first one.  An existing file is not opened here:
    closing it would drop the locks that SQLite has on it.
    """
    path = arguments[0]
    with contextlib.suppress(OSError):  # SQLite says itself why it cannot open a file
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
    for name in (path, f"{path}-wal", f"{path}-shm"):
        with contextlib.suppress(OSError):
            if os.stat(name).st_mode & 0o077:
                os.chmod(name, 0o600)


def _set_pragmas(connection: Any, _: Any) -> None:
    for name, value in _PRAGMAS.items():
        connection.execute(f"PRAGMA {name} = {value}")
        (kept,) = connection.execute(f"PRAGMA {name}").fetchone()
        if str(kept) != value:
            raise WrongPragma(f"PRAGMA {name} is {kept}, not {value}")


def _begin_sqlite(connection: Connection) -> None:
    """Begin, for a writer with the lock: a later upgrade would fail as "locked" without waiting."""
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
