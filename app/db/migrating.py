"""Database migrations with alembic, which is slow to import: only `db` commands import it."""

import warnings
from collections.abc import Callable

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.util import CommandError
from sqlalchemy import Connection, text

from app.db.base import Metadata
from app.db.engine import Database, insert_new
from app.db.schema import (
    INSTANCE,
    MIGRATIONS,
    WrongDatabase,
    list_revisions,
    read_revision,
    require_utf8,
)

# Two machines that start at once would both make the same tables.  No other advisory lock of ours
# has this number.
_LOCK = text("SELECT pg_advisory_xact_lock(7245013009)")


def upgrade_database(
    db: Database,
    *,
    instance_id: str,
    before_change: Callable[[], object] = lambda: None,
    on_change: Callable[[Connection, dict[str, str]], object] = lambda tx, revisions: None,
) -> None:
    """Upgrade the tables to the newest revision, and set the instance id of a new database.

    `before_change` is called before the tables of a database in use change; if it raises an error,
    they stay as they are.  `on_change` gets the transaction that changed them, and the revisions.
    Raises WrongDatabase if the database cannot keep all texts.
    """
    newest = list_revisions()[-1]
    with db.read() as connection:
        require_utf8(connection)
        current = read_revision(connection)
    if current not in (None, newest):
        before_change()
    with db.write() as tx:
        if not db.is_sqlite:
            tx.execute(_LOCK)
        current = read_revision(tx)
        command.upgrade(_configure(tx), "head")
        insert_new(tx, Metadata, name=INSTANCE, value=instance_id)
        if current not in (None, newest):
            on_change(tx, {"from": current, "to": newest})


def check_schema(db: Database) -> None:
    """Compare the tables with the models.  Raises WrongDatabase if they differ."""
    with db.read() as connection, warnings.catch_warnings():
        # SQLite's schema does not show indexes over expressions.
        warnings.filterwarnings("ignore", "Skipped unsupported reflection of expression-based")
        try:
            command.check(_configure(connection))
        except CommandError as e:
            raise WrongDatabase(str(e)) from e


def _configure(connection: Connection) -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config
