"""Database connections: engine settings, write() and read()."""

import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InvalidatePoolError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from app.db.outages import note_outage
from app.db.prepared import raise_again, run_sql
from app.db.writers import GIVE_WAY_S, Item, Result, SharedWrites, WriteTurns

# A writer waits this long for other writers.
BUSY_TIMEOUT_S = 20
# The codes by which SQLite and PostgreSQL report it.
_INTERRUPTED = ("SQLITE_INTERRUPT", "57014")
# Those of deadlocks and of transactions that cannot follow one another, and how many are repeated.
_CONFLICTS, _MAX_CONFLICTS = ("40P01", "40001"), 4
# SQLite's steps between two looks at the clock: some tenth of a millisecond.
_STEPS_BETWEEN_LOOKS = 20_000
_CONNECT_TIMEOUT_S = 5
# PostgreSQL ends a transaction of a frozen process, which would keep its locks.  We never let so
# much time pass between two statements.
_IDLE_IN_TRANSACTION_S = 30
# A connection is pinged before it is used again after this time.
PING_AFTER_S = 1.0
_USED_AT = "used_at"
# Each connection keeps this many statements parsed: those for groups have a form for each size.
_KEPT_STATEMENTS = 500
# Page cache of each connection: -N is N KiB.
_CACHE = "-16384"

_PRAGMAS = {
    "journal_mode": "wal",
    "synchronous": "2",  # FULL: a commit is on the disk when it returns
    "foreign_keys": "1",
    "busy_timeout": str(BUSY_TIMEOUT_S * 1000),
    "cache_size": _CACHE,
}


class QueryTooSlow(Exception):
    """A query was ended because it took longer than it may."""


class WrongPragma(RuntimeError):
    """SQLite does not keep a setting that durability depends on."""


class Database:
    """An SQLite or PostgreSQL database.  Threads may share it, forked processes may not."""

    def __init__(self, url: str, *, pool_size: int = 40) -> None:
        self.engine = _make_engine(url, pool_size)
        event.listen(self.engine, "do_execute", raise_again)
        self.is_sqlite = self.engine.dialect.name == "sqlite"
        # True once verify_database() has passed.
        self.verified = False
        # By default PostgreSQL gives each statement its own snapshot; a read() needs one for all.
        self._reading = (
            self.engine
            if self.is_sqlite
            else self.engine.execution_options(
                isolation_level="REPEATABLE READ", postgresql_readonly=True
            )
        )
        self._writing = self.engine.execution_options(writes=True)
        self._turns = self._make_turns()
        self._writer: Connection | None = None
        self._shared: dict[Callable[..., Any], SharedWrites[Any, Any]] = {}

    @contextlib.contextmanager
    def write(self, *, urgent: bool = False) -> Iterator[Connection]:
        """Open a transaction: committed at the end of the block, rolled back on an exception.

        An urgent one comes before all others that wait in this process.  Raises OperationalError
        if it has to wait for longer than BUSY_TIMEOUT_S.
        """
        if self._turns:
            with self._turns.take(urgent=urgent), self._begin_in_turn() as connection:
                yield connection
        else:
            with self._writing.begin() as connection:
                yield connection

    def share(
        self, write: Callable[[Connection, Sequence[Item]], Sequence[Result]]
    ) -> SharedWrites[Item, Result]:
        """Return the transactions that threads share to run this function."""
        known = self._shared.get(write)
        return known or self._shared.setdefault(write, SharedWrites(self.write, write))

    def give_way(self) -> None:
        """Let other writers in between two transactions of a long piece of work."""
        if self.is_sqlite:
            time.sleep(GIVE_WAY_S)

    @contextlib.contextmanager
    def read(self, *, within_s: float | None = None) -> Iterator[Connection]:
        """Open a connection that sees one snapshot of the database and changes nothing.

        Raises QueryTooSlow when a statement is not done within this time.
        """
        with self._reading.connect() as connection:
            if within_s is None:
                yield connection
            else:
                with _end_slow_queries(connection, within_s):
                    yield connection
            # After a ROLLBACK the driver forgets the statements that it has prepared.
            connection.commit()

    def close(self) -> None:
        """Close idle connections."""
        if writer := self._writer:
            self._writer = None
            writer.close()
        self.engine.dispose()
        if self._turns:
            self._turns.close()

    @contextlib.contextmanager
    def _begin_in_turn(self) -> Iterator[Connection]:
        """Open a transaction on the connection that all turns use, unless one of them failed.

        SQLite forgets the pages that a connection has in memory when another one has written.
        """
        connection, self._writer = self._writer or self._writing.connect(), None
        try:
            with connection.begin():
                yield connection
        except BaseException:
            connection.close()
            raise
        self._writer = connection

    def _make_turns(self) -> WriteTurns | None:
        path = self.engine.url.database
        return WriteTurns(path, BUSY_TIMEOUT_S) if self.is_sqlite and path else None


@contextlib.contextmanager
def _end_slow_queries(tx: Connection, within_s: float) -> Iterator[None]:
    deadline = time.monotonic() + within_s
    driver: Any = tx.connection.driver_connection
    if tx.dialect.name == "sqlite":
        driver.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS_BETWEEN_LOOKS)
    else:
        timeout_ms = max(1, round(within_s * 1000))
        tx.exec_driver_sql(f"SET LOCAL statement_timeout = {timeout_ms}")
    try:
        yield
    except OperationalError as e:
        code = getattr(e.orig, "sqlite_errorname", None) or getattr(e.orig, "sqlstate", None)
        if code not in _INTERRUPTED:
            raise
        raise QueryTooSlow("a query took longer than it may") from e
    finally:
        if tx.dialect.name == "sqlite":
            driver.set_progress_handler(None, 0)


def lock_table(tx: Connection, table: Table) -> None:
    """Let no other transaction change a table until this one ends; it can still be read.

    SQLite has one writer at a time anyway.
    """
    if tx.dialect.name != "sqlite":
        tx.exec_driver_sql(f"LOCK TABLE {table.name} IN SHARE ROW EXCLUSIVE MODE")


def insert_new(tx: Connection, table: type[Any], **values: Any) -> bool:
    """Insert a row unless its key exists.  Returns True if it was inserted."""
    build = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    statement = build(table).values(**values).on_conflict_do_nothing()
    # Without the option SQLAlchemy does not keep the row count of an INSERT.
    return tx.execute(statement.execution_options(preserve_rowcount=True)).rowcount == 1


def repeat_on_conflict(work: Callable[[], Result]) -> Result:
    """Run transactions, again if PostgreSQL ended one that and another one waited for each other.

    Nothing of that transaction took place.  Raises what the last try raises.
    """
    for _ in range(_MAX_CONFLICTS):
        try:
            return work()
        except OperationalError as e:
            if getattr(e.orig, "sqlstate", None) not in _CONFLICTS:
                raise
    return work()


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
            connect_args={
                "isolation_level": None,
                "timeout": BUSY_TIMEOUT_S,
                "cached_statements": _KEPT_STATEMENTS,
            },
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
        connect_args={
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "application_name": "clarion",
            "client_encoding": "utf8",
        },
        pool_size=pool_size,
        pool_use_lifo=True,  # the statements of the last one used are prepared
        max_overflow=100,
        hide_parameters=True,  # error messages would hold phone numbers and texts
    )
    event.listen(engine, "connect", _set_up_postgres)
    event.listen(engine, "checkin", _note_use)
    event.listen(engine, "checkout", _ping_if_idle)
    event.listen(engine, "handle_error", note_outage)
    return engine


def _set_up_postgres(connection: Any, _: Any) -> None:
    connection.prepared_max = _KEPT_STATEMENTS
    connection.execute(f"SET idle_in_transaction_session_timeout = '{_IDLE_IN_TRANSACTION_S}s'")
    connection.commit()


def _note_use(_: Any, record: ConnectionPoolEntry) -> None:
    record.info[_USED_AT] = time.monotonic()


def _ping_if_idle(connection: Any, record: ConnectionPoolEntry, _: Any) -> None:
    """Replace a connection that was lost while it was idle; a ping costs as much as a statement."""
    if time.monotonic() - record.info.get(_USED_AT, math.inf) < PING_AFTER_S:
        return
    try:
        connection.execute("SELECT 1")
        connection.commit()
    except connection.Error as e:
        raise InvalidatePoolError from e


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
    run_sql(connection, "BEGIN IMMEDIATE" if writes else "BEGIN")
