"""Whether a database has the tables we need, and whether it is ours."""

from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from app.db.base import Fact
from app.db.engine import Database, insert_new
from app.db.facts import keep_fact, read_fact

MIGRATIONS = Path(__file__).parent.parent / "migrations"
INSTANCE = "instance_id"


class WrongDatabase(Exception):
    """The database is not one to send from; the message says what to do."""


def upgrade_database(db: Database, *, instance_id: str) -> None:
    """Bring the tables up to date; a new database becomes this instance's."""
    with db.write() as tx:
        command.upgrade(_configure(tx), "head")
        insert_new(tx, Fact, name=INSTANCE, value=instance_id)


def check_schema(db: Database) -> None:
    """Compare the tables with the models.  Raises alembic's CommandError when they differ."""
    with db.read() as connection:
        command.check(_configure(connection))


def adopt_database(db: Database, *, instance_id: str) -> None:
    """Make this database ours, whosever it was."""
    with db.write() as tx:
        keep_fact(tx, INSTANCE, instance_id)


def verify_database(db: Database, *, instance_id: str) -> None:
    """Raise WrongDatabase unless it is migrated and ours: a copy must not send what the original
    does."""
    with db.read() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
        if current != find_head():
            raise WrongDatabase(
                "the database is not migrated: run `flask --app wsgi db upgrade`"
                if current is None or current in _known()
                else "the database is newer than this program: deploy the newer one"
            )
        owner = read_fact(connection, INSTANCE)
    if owner != instance_id:
        raise WrongDatabase(
            "the database belongs to another instance: a copy must not send again. Set its "
            "INSTANCE_ID, or run `flask --app wsgi db adopt` if the other one is gone"
        )


def find_head() -> str | None:
    """The newest revision there is."""
    return ScriptDirectory(str(MIGRATIONS)).get_current_head()


def _known() -> set[str]:
    return {script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}


def _configure(connection: Connection) -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config
