"""Copies of a PostgreSQL database: pg_dump and pg_restore, with the password in the environment."""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

from sqlalchemy import inspect

from app.db.engine import Database
from app.operate.backups.contents import read_contents
from app.operate.backups.manifest import BackupFailed, Contents

_LOCK_WAIT_MS = 60_000


def copy_postgres(db: Database, path: Path) -> Contents:
    """Dump the database into a file, while others write to it.  Returns its contents.

    They are read in the snapshot that pg_dump dumps.
    """
    with db.read() as tx:
        # This transaction has to outlive the dump.
        tx.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        snapshot = tx.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one()
        dump = ["--format=custom", f"--snapshot={snapshot}", f"--lock-wait-timeout={_LOCK_WAIT_MS}"]
        with path.open("wb") as file:
            _run("pg_dump", *dump, "--no-password", db=db, output=file)
        return read_contents(tx)


def check_postgres(path: Path) -> None:
    """Read all of a dump.  Raises BackupFailed if pg_restore cannot."""
    _run("pg_restore", f"--file={os.devnull}", str(path))


def restore_postgres(db: Database, path: Path) -> None:
    """Bring a dump back, all or nothing.  Raises BackupFailed if the database has tables."""
    with db.read() as tx:
        if inspect(tx).get_table_names():
            raise BackupFailed(
                "The database of DATABASE_URL has tables: make a new one with createdb, and name "
                "it in DATABASE_URL. Keep the old one until all is well"
            )
    # Without a name here, it takes that of the environment.
    whole = ["--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges"]
    _run("pg_restore", "--dbname=", *whole, "--no-password", str(path), db=db)


def _run(program: str, *arguments: str, db: Database | None = None, output: Any = None) -> None:
    """Run a program of PostgreSQL.  Raises BackupFailed with its reason, which has no data."""
    path = shutil.which(program)
    if path is None:
        raise BackupFailed(
            f"{program} is not installed: install PostgreSQL's client programs, as new as the "
            "server or newer"
        )
    ended = subprocess.run(  # noqa: S603  # our own words and paths
        [path, *arguments],
        env=dict(os.environ) | (_make_environ(db) if db else {}),
        stdin=subprocess.DEVNULL,
        stdout=output or subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    if ended.returncode:
        raise BackupFailed(f"{program} failed: {_find_reason(program, ended)}")


def _find_reason(program: str, ended: subprocess.CompletedProcess[str]) -> str:
    """Return the program's own words.  Further lines may quote rows."""
    if ended.returncode < 0:
        return f"ended by {signal.Signals(-ended.returncode).name}"
    own = [line for line in ended.stderr.splitlines() if line.startswith(f"{program}: ")]
    return "; ".join(line.removeprefix(f"{program}: ") for line in own)[:400] or "without a word"


def _make_environ(db: Database) -> dict[str, str]:
    """Return the environment that leads libpq to a database, as DATABASE_URL does."""
    psycopg: Any = db.engine.dialect.loaded_dbapi
    _, parameters = db.engine.dialect.create_connect_args(db.engine.url)
    names = {
        option.keyword.decode(): option.envvar.decode()
        for option in psycopg.pq.Conninfo.get_defaults()
        if option.envvar
    }
    return {names[name]: str(value) for name, value in parameters.items() if name in names}
