"""Copies of an SQLite database."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

from app.db.engine import Database
from app.db.schema import BACKUP_OF
from app.operate.backups.contents import read_contents
from app.operate.backups.manifest import BackupFailed, Contents

_MARK = "INSERT OR REPLACE INTO metadata (name, value) VALUES (?, ?)"


def copy_sqlite(db: Database, path: Path, *, made_at: datetime) -> None:
    """Copy the database into an empty file, while others write to it.

    The copy is marked: nothing is sent from it before it was restored.
    """
    with db.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.execute("VACUUM INTO ?", (str(path),))
    with closing(sqlite3.connect(path)) as copy, copy:
        copy.execute(_MARK, (BACKUP_OF, made_at.isoformat()))


def check_sqlite(path: Path) -> Contents:
    """Read all of a copy.  Returns its contents.  Raises BackupFailed if it is damaged."""
    with _open_copy(path) as tx:
        faults = tx.exec_driver_sql("PRAGMA integrity_check(3)").scalars().all()
        if faults != ["ok"]:
            raise BackupFailed(f"SQLite finds faults in it: {'; '.join(faults)}")
        return read_contents(tx)


@contextmanager
def _open_copy(path: Path) -> Iterator[Connection]:
    """Open a copy that no process writes to: nothing is made beside it."""
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    engine = create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(uri, uri=True),
        poolclass=NullPool,
        hide_parameters=True,
    )
    with engine.connect() as connection:
        yield connection
