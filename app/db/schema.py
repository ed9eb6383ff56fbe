"""Whether a database has the tables we need, and whether it is ours.

Alembic, which makes them, is not imported: with what it imports it is a tenth of a start.
"""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from app.db.engine import Database
from app.db.facts import read_metadata, set_metadata

MIGRATIONS = Path(__file__).parent.parent / "migrations"
INSTANCE = "instance_id"


class WrongDatabase(Exception):
    """The database is not one to send from; the message says what to do."""


def adopt_database(db: Database, *, instance_id: str) -> None:
    """Make this database ours, whosever it was."""
    with db.write() as tx:
        set_metadata(tx, INSTANCE, instance_id)


def verify_database(db: Database, *, instance_id: str) -> None:
    """Raise WrongDatabase unless it is migrated and ours: a copy must not send what the original
    does."""
    with db.read() as connection:
        current, known = _read_revision(connection), list_revisions()
        if current != known[-1]:
            raise WrongDatabase(
                "the database is not migrated: run `flask --app wsgi db upgrade`"
                if current is None or current in known
                else "the database is newer than this program: deploy the newer one"
            )
        owner = read_metadata(connection, INSTANCE)
    if owner != instance_id:
        raise WrongDatabase(
            "the database belongs to another instance: a copy must not send again. Set its "
            "INSTANCE_ID, or run `flask --app wsgi db adopt` if the other one is gone"
        )


def list_revisions() -> list[str]:
    """The revisions there are, the newest last: what their files' names begin with."""
    return sorted(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("*_*.py"))


def _read_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    read: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return read
