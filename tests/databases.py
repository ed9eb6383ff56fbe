"""Databases for tests: migrated, empty, ours."""

from app.db.engine import Database
from app.db.migrating import upgrade_database
from tests.factories import INSTANCE


def migrate(url: str) -> None:
    """Make the tables of an empty database."""
    db = Database(url)
    upgrade_database(db, instance_id=INSTANCE)
    db.close()
