"""Migration 0015: tables of users are added, and can be removed again."""

import pytest
from alembic import command
from sqlalchemy import inspect

from app.db.migrating import _configure, check_schema, upgrade_database
from tests.factories import INSTANCE
from tests.migrations.old import make_old_database

_TABLES = {"users", "user_sessions", "sign_in_waits"}


@pytest.fixture(params=["sqlite", "postgres"])
def db(request, tmp_path):
    db = make_old_database(request, tmp_path, "0014")
    yield db
    db.close()


def _tables(db):
    with db.read() as tx:
        return set(inspect(tx).get_table_names())


def test_the_migration_adds_tables_and_can_be_undone(db):
    before = _tables(db)

    upgrade_database(db, instance_id=INSTANCE)

    check_schema(db)
    assert _tables(db) - before >= _TABLES
    with db.write() as tx:
        command.downgrade(_configure(tx), "0014")
    assert _tables(db) == before
