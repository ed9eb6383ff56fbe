"""People in a database of either kind, under a clock of the test's own."""

from collections.abc import Callable, Iterator

import pytest
from flask import Flask

from app.config import SubscriberRules
from app.db.engine import Database
from app.subscribers.context import SubscriberContext
from tests.callers import Caller
from tests.clocks import ManualClock
from tests.services import share_statements


@pytest.fixture
def people(either_database: str) -> Iterator[SubscriberContext]:
    """What everything about people stands on, on either database; the test runs on both."""
    db = Database(either_database)
    share_statements(db)
    yield SubscriberContext(
        db=db, rules=SubscriberRules(), phone_hash_key=b"a key for tests", clock=ManualClock()
    )
    db.close()


@pytest.fixture
def people_here(database_url: str) -> Iterator[SubscriberContext]:
    """The same in SQLite alone, for tests to which the database makes no difference."""
    db = Database(database_url)
    yield SubscriberContext(
        db=db, rules=SubscriberRules(), phone_hash_key=b"a key for tests", clock=ManualClock()
    )
    db.close()


@pytest.fixture
def caller(make_service: Callable[..., Flask], either_database: str) -> Caller:
    """A client of a service on either database; the test runs on both."""
    return Caller(make_service(DATABASE_URL=either_database))
