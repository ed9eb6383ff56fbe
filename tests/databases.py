"""Databases for tests: migrated, empty, ours."""

import functools
import shutil
from pathlib import Path

from sqlalchemy import Connection, event
from sqlalchemy.engine import make_url

from app.db.engine import Database
from app.db.migrating import upgrade_database
from tests.factories import INSTANCE
from tests.shared import make_once


def migrate(url: str) -> None:
    """Make a database with tables, or the tables of an empty one."""
    path = make_url(url).database
    if url.startswith("sqlite") and path and not Path(path).exists():
        shutil.copy(migrated_file(), path)
    else:
        _run_migrations(url)


@functools.cache
def migrated_file() -> Path:
    """Return an SQLite database to copy: to run the migrations takes a quarter of a second."""
    return make_once("migrated.db", lambda path: _run_migrations(f"sqlite:///{path}"))


def count_writes(db: Database) -> list[Connection]:
    """Return a list that gets the connection of each transaction that is written from now on."""
    written: list[Connection] = []

    def note(connection: Connection) -> None:
        if is_write(connection):
            written.append(connection)

    event.listen(db.engine, "commit", note)
    return written


def is_write(connection: Connection) -> bool:
    """Return True for a connection of write(), False for one of read()."""
    return bool(connection.get_execution_options().get("writes"))


def _run_migrations(url: str) -> None:
    db = Database(url)
    upgrade_database(db, instance_id=INSTANCE)
    db.close()
