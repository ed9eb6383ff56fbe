"""Check that a database is migrated and belongs to this instance.

Alembic is not imported: it would add a tenth to the start-up time.
"""

from datetime import datetime
from functools import cache
from pathlib import Path

from loguru import logger
from sqlalchemy import Connection, inspect, text

from app.db.audit import write_audit
from app.db.engine import Database
from app.db.facts import read_metadata, set_metadata
from app.logs import mark_outage

MIGRATIONS = Path(__file__).parent.parent / "migrations"
INSTANCE = "instance_id"
# The time of a backup, in the copy alone, until restore mode was entered.
BACKUP_OF = "backup_of"


class WrongDatabase(Exception):
    """Nothing may be sent from this database; the message says what to do."""


def log_wrong_database(error: WrongDatabase) -> None:
    """Log once a minute that nothing is sent, and why."""
    sentence = "nothing is sent from this database"
    mark_outage(error, sentence, str(error))
    logger.opt(exception=error).critical(sentence)


def adopt_database(db: Database, *, instance_id: str, now: datetime, actor: str) -> None:
    """Make the database belong to this instance."""
    with db.write() as tx:
        facts = {"from": read_metadata(tx, INSTANCE), "to": instance_id}
        write_audit(tx, now, actor, "adopt", "database", **facts)
        set_metadata(tx, INSTANCE, instance_id)


def verify_database(db: Database, *, instance_id: str, may_be_backup: bool = False) -> None:
    """Raise WrongDatabase unless the database is migrated and ours: a copy must not send again."""
    with db.read() as connection:
        require_utf8(connection)
        current, known = read_revision(connection), list_revisions()
        if current != known[-1]:
            raise WrongDatabase(
                "the database is not migrated: run `flask --app wsgi db upgrade`"
                if current is None or current in known
                else "the database is newer than this program: deploy the newer one"
            )
        owner = read_metadata(connection, INSTANCE)
        backup_of = read_metadata(connection, BACKUP_OF)
    if owner != instance_id:
        raise WrongDatabase(
            "the database belongs to another instance: a copy must not send again. Set its "
            "INSTANCE_ID, or run `flask --app wsgi db adopt` if the other one is gone"
        )
    if backup_of and not may_be_backup:
        raise WrongDatabase(
            f"the database is a backup of {backup_of}: run `flask --app wsgi db restored`, so that "
            "nothing is sent again that was sent since"
        )


def require_utf8(connection: Connection) -> None:
    """Raise WrongDatabase if a database of PostgreSQL cannot keep all texts."""
    if connection.dialect.name == "sqlite":
        return
    encoding = connection.scalar(text("SHOW server_encoding"))
    if encoding != "UTF8":
        raise WrongDatabase(
            f"the encoding of the database is {encoding}, which cannot keep all texts: make it by "
            "`createdb --encoding UTF8 --template template0`"
        )


@cache
def list_revisions() -> tuple[str, ...]:
    """Return all revisions, newest last, by the names of their files."""
    paths = (MIGRATIONS / "versions").glob("*_*.py")
    return tuple(sorted(path.name.partition("_")[0] for path in paths))


def read_revision(connection: Connection) -> str | None:
    """Return the migration that the database is at; None if it was never migrated."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision
