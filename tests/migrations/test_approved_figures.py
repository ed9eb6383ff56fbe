"""Migration 0030: questions for an approval from before it stay as they were."""

from datetime import UTC, datetime

import pytest
from alembic import command
from sqlalchemy import MetaData, insert, inspect, select

from app.db.migrating import _configure, check_schema, upgrade_database
from tests.factories import INSTANCE
from tests.migrations.old import make_old_database

_AT = datetime(2026, 11, 30, 9, tzinfo=UTC)
_DRAFT = {
    "id": 1,
    "public_id": "06h2draft",
    "version": 3,
    "title": "Doors",
    "body": {"message": "Doors open at 8"},
    "created_at": _AT,
    "created_by": "anna",
    "changed_at": _AT,
    "changed_by": "anna",
    "asked_at": _AT,
    "asked_by": "anna",
    "approved_people": 2,
}
_RESEND = {"broadcast_id": 7, "people": 12, "asked_at": _AT, "asked_by": "anna"}


@pytest.fixture(params=["sqlite", "postgres"])
def db(request, tmp_path):
    db = make_old_database(request, tmp_path, "0029")
    yield db
    db.close()


def _tables(tx):
    found = MetaData()
    found.reflect(tx, only=("drafts", "resend_approvals"))
    return found.tables["drafts"], found.tables["resend_approvals"]


def _columns(db):
    with db.read() as tx:
        return [
            {column["name"] for column in inspect(tx).get_columns(table)}
            for table in ("drafts", "resend_approvals")
        ]


def test_questions_from_before_stay_and_have_no_figures(db):
    before = _columns(db)
    with db.write() as tx:
        drafts, resends = _tables(tx)
        tx.execute(insert(drafts).values(_DRAFT))
        tx.execute(insert(resends).values(_RESEND))

    upgrade_database(db, instance_id=INSTANCE)

    check_schema(db)
    with db.read() as tx:
        drafts, resends = _tables(tx)
        draft, resend = tx.execute(select(drafts)).one(), tx.execute(select(resends)).one()
    assert (draft.title, draft.approved_people, draft.approved_figures) == ("Doors", 2, None)
    assert (resend.people, resend.asked_by, resend.figures) == (12, "anna", None)
    with db.write() as tx:
        command.downgrade(_configure(tx), "0029")
    assert _columns(db) == before
