"""What accounts need: a database and a clock, without a service around them."""

import pytest

from app.db.engine import Database
from tests.accounts.people import Accounts
from tests.hashes import real_hashes


@pytest.fixture
def accounts(database_url):
    """Accounts on SQLite."""
    yield from _open(database_url)


@pytest.fixture
def either_accounts(either_database):
    """The same on either database; the test runs on both."""
    yield from _open(either_database)


@pytest.fixture
def full_work():
    """Passwords are hashed with all the work that the service asks for."""
    with real_hashes():
        yield


def _open(url):
    db = Database(url)
    yield Accounts(db)
    db.close()
