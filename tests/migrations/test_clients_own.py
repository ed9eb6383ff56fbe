"""Migration 0011: templates belong to the client that wrote them first, and keep their versions."""

from collections.abc import Iterator

import pytest
from alembic import command
from sqlalchemy import text

from app.db.engine import Database
from app.db.migrating import _configure, check_schema, upgrade_database
from tests.factories import INSTANCE
from tests.migrations.old import make_old_database

_TEMPLATES = "SELECT id, name, version, archived_at FROM templates ORDER BY id"
_VERSIONS = (
    "SELECT template_id, version, CAST(texts AS TEXT), default_language, client "
    "FROM template_versions ORDER BY template_id, version"
)


@pytest.fixture(params=["sqlite", "postgres"])
def db(request, tmp_path) -> Iterator[Database]:
    """A database of revision 0010 with templates of two clients."""
    db = make_old_database(request, tmp_path, "0010")
    with db.write() as tx:
        for id_, name, version in ((1, "hello", 2), (2, "code", 1)):
            values = {"id": id_, "name": name, "version": version}
            row = "INSERT INTO templates (id, name, version) VALUES (:id, :name, :version)"
            tx.execute(text(row), values)
        for template, version, client in ((1, 1, "shop"), (1, 2, "crm"), (2, 1, "crm")):
            values = {"template": template, "version": version, "client": client}
            tx.execute(
                text(
                    "INSERT INTO template_versions VALUES "
                    "(:template, :version, '{\"en\": \"Hi\"}', 'en', '2026-03-01 08:00:00', :client)"
                ),
                values,
            )
    yield db
    db.close()


def _read(db: Database, query: str) -> list[tuple[object, ...]]:
    with db.read() as tx:
        return [tuple(row) for row in tx.execute(text(query))]


def test_a_template_belongs_to_its_first_client_and_no_version_is_lost(db):
    before = [_read(db, query) for query in (_TEMPLATES, _VERSIONS)]

    upgrade_database(db, instance_id=INSTANCE)

    check_schema(db)
    assert _read(db, "SELECT name, client FROM templates ORDER BY id") == [
        ("hello", "shop"),
        ("code", "crm"),
    ]
    assert [_read(db, query) for query in (_TEMPLATES, _VERSIONS)] == before
    with db.write() as tx:
        again = "INSERT INTO templates (client, name, version) VALUES ('shop', 'code', 0)"
        tx.execute(text(again if tx.dialect.name == "sqlite" else _with_id(again)))
    assert len(_read(db, _TEMPLATES)) == 3


def _with_id(insert: str) -> str:
    return insert.replace("(client", "(id, client").replace("('shop'", "(3, 'shop'")


def test_the_migration_can_be_undone(db):
    before = [_read(db, query) for query in (_TEMPLATES, _VERSIONS)]
    upgrade_database(db, instance_id=INSTANCE)

    with db.write() as tx:
        command.downgrade(_configure(tx), "0010")

    assert [_read(db, query) for query in (_TEMPLATES, _VERSIONS)] == before
