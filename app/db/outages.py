"""Outages of the database: why it failed, without a password or a value of a statement."""

import re
from typing import Any

from sqlalchemy import URL
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DatabaseError, InterfaceError, OperationalError

from app.logs import mark_outage

# Connection, login, no such database, resources, operator, system: no fault of a statement, as a
# timeout of ours (57014) is.
_SQLSTATES = re.compile(r"08|28|3D|53|57(?!014)|58|25006")
_SQLITE_FAULTS = re.compile(
    r"SQLITE_(BUSY|LOCKED|IOERR|FULL|READONLY|CANTOPEN|CORRUPT|NOTADB|PERM)"
)


def note_outage(context: ExceptionContext) -> None:
    """Mark an error of the database as an outage, if it is one: `engine` calls it for each."""
    error = context.sqlalchemy_exception
    url = context.engine.url if context.engine else None
    # SQLite says by the parent of all its errors that a file is damaged or no database.
    if isinstance(error, OperationalError | InterfaceError) or type(error) is DatabaseError:
        reason = _find_reason(error.orig)
        if url is not None and reason:
            mark_outage(error, "the database is unavailable", f"{_name_database(url)}: {reason}")


def _find_reason(error: Any) -> str | None:
    """Return why the database did nothing; None if it rejected the statement."""
    sqlite_name = getattr(error, "sqlite_errorname", None)
    if sqlite_name is not None:
        return f"{error} ({sqlite_name})" if _SQLITE_FAULTS.match(sqlite_name) else None
    sqlstate = getattr(error, "sqlstate", None)
    if sqlstate is None:  # psycopg's or libpq's own words about a connection
        return str(error).partition("\n")[0].rpartition("failed: ")[2][:200]
    name = type(error).__name__
    return f"{name} (SQLSTATE {sqlstate})" if _SQLSTATES.match(sqlstate) else None


def _name_database(url: URL) -> str:
    if url.host is None:
        return f"SQLite {url.database}"
    return f"PostgreSQL {url.host}:{url.port or 5432}/{url.database}"
