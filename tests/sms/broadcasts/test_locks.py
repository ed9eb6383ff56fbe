"""Locks of requests that are stored at once on PostgreSQL: their order, and a deadlock."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from app.sms.caps.caps import CapName, list_caps, set_cap
from app.sms.lifecycle.locks import lock_request_keys
from app.sms.models.cap import CapPeriod, CapUnit
from app.subscribers.suppressions.store import lock_suppressions_exclusive
from tests.background import context_of
from tests.callers import PATIENT, Caller

NUMBERS = ("+46701234567", "+46707654321")
KEY = "order-1"
CAP = CapName("tests", CapPeriod.DAY, CapUnit.PARTS)
# Longer than a deadlock takes to be found.
DEADLOCK_TIMEOUT_S = 0.1
# PostgreSQL ends a transaction that is idle for longer.
WITHIN_S = 20


@pytest.fixture
def url(postgres):
    url = postgres.lend_database()
    name = url.rpartition("/")[2]
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET deadlock_timeout = '100ms'")
    return url


@pytest.fixture
def service(make_service, url, sandbox):
    service = make_service(DATABASE_URL=url, **PATIENT)
    set_cap(context_of(service), CAP, 9, actor="ops")
    return service


@contextmanager
def _holding_the_counter(service):
    """Hold the counter of the cap, for which each claim of the client waits."""
    with context_of(service).db.write() as tx:
        tx.exec_driver_sql("SELECT 1 FROM cap_counters WHERE client = 'tests' FOR UPDATE")
        yield tx


def _await_waits(service, *wanted):
    """Wait until other connections wait for locks of these kinds, and no others."""
    query = (
        "SELECT wait_event FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    until, found = time.monotonic() + WITHIN_S, None
    while time.monotonic() < until:
        with context_of(service).db.read() as tx:
            found = sorted(tx.exec_driver_sql(query).scalars())
        if found == sorted(wanted):
            return
        time.sleep(0.02)
    pytest.fail(f"connections wait for {found}")


def _send(service, category, key=KEY):
    return Caller(service).send(NUMBERS[0], category=category, idempotency_key=key)


@pytest.mark.parametrize("first", ["transactional", "marketing"])
def test_a_request_waits_for_its_key_before_it_locks_a_counter(service, sandbox, first):
    """Marketing goes the general way, a notice the quick one: each waits for the other's key."""
    second = {"transactional": "marketing", "marketing": "transactional"}[first]
    with ThreadPoolExecutor(2) as threads:
        with _holding_the_counter(service):
            stored = threads.submit(_send, service, first)
            _await_waits(service, "transactionid")
            refused = threads.submit(_send, service, second)
            _await_waits(service, "transactionid", "advisory")

        assert stored.result(WITHIN_S).status_code == 202
        assert refused.result(WITHIN_S).status_code == 422
    assert len(sandbox.recipients()) == (first == "transactional")


def test_a_request_that_postgresql_ends_in_a_deadlock_is_stored_again(service, sandbox):
    """The holder of the counter waits for the request, which waits for the counter."""
    ctx, is_waiting = context_of(service), threading.Event()

    def close_the_circle():
        # On a slow machine PostgreSQL may end this one instead.
        with suppress(OperationalError), _holding_the_counter(service) as tx:
            is_waiting.set()
            lock_suppressions_exclusive(tx)

    with ThreadPoolExecutor(2) as threads:
        with ctx.db.write() as tx:
            lock_request_keys(tx, [("tests", KEY)])
            answer = threads.submit(_send, service, "transactional")
            _await_waits(service, "advisory")
            holder = threads.submit(close_the_circle)
            assert is_waiting.wait(WITHIN_S)
            _await_waits(service, "advisory", "advisory")
            # The holder looks for a deadlock once, and there is none yet.
            time.sleep(3 * DEADLOCK_TIMEOUT_S)

        holder.result(WITHIN_S)
        assert answer.result(WITHIN_S).status_code == 202
    assert sandbox.recipients() == [NUMBERS[0]]
    with ctx.db.read() as tx:
        assert tx.exec_driver_sql("SELECT count(*) FROM broadcasts").scalar() == 1


def test_a_change_of_a_cap_that_postgresql_ends_in_a_deadlock_is_stored_again(service):
    ctx = context_of(service)
    with ThreadPoolExecutor(1) as threads:
        # On a slow machine PostgreSQL may end the holder instead.
        with suppress(OperationalError), _holding_the_counter(service) as tx:
            change = threads.submit(set_cap, ctx, CAP, 5, actor="ops")
            _await_waits(service, "transactionid")
            lock_suppressions_exclusive(tx)

        change.result(WITHIN_S)
    assert [cap["amount"] for cap in list_caps(ctx)] == [5]
