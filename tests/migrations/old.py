"""Databases of earlier revisions."""

from pathlib import Path

import pytest
from alembic import command

from app.db.engine import Database
from app.db.migrating import _configure


def make_old_database(request: pytest.FixtureRequest, tmp_path: Path, revision: str) -> Database:
    """Return an empty database of a revision, of the kind that the fixture's parameter names."""
    if request.param == "sqlite":
        address = f"sqlite:///{tmp_path / 'old.db'}"
    else:
        address = request.getfixturevalue("postgres").create_empty_database()
    db = Database(address)
    with db.write() as tx:
        command.upgrade(_configure(tx), revision)
    return db
