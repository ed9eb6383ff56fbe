"""People in a database of either kind, under a clock of the test's own."""

from collections.abc import Iterator

import pytest

from app.config import PeopleRules
from app.db.engine import Database
from app.subscribers.context import People
from tests.clocks import ManualClock


@pytest.fixture
def people(either_database: str) -> Iterator[People]:
    """What everything about people stands on, on either database; the test runs on both."""
    db = Database(either_database)
    yield People(db=db, rules=PeopleRules(), digest_key=b"a key for tests", clock=ManualClock())
    db.close()
