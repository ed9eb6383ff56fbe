"""Many processes and many clients at once on one database."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.factories import AUTH, broadcast_to, many_numbers
from tests.kills.judging import check_books, is_settled
from tests.kills.mortal import PATIENT, Clients, mortal, wait_until

ANN = "+46701234567"
# A deadline of a test that hangs, and of nothing else: a busy machine takes minutes.
SOON_S = 300.0


@pytest.fixture
def crowd(sinch, either_database, tmp_path):
    """A service of four processes."""
    settings = PATIENT | {"SINCH_REGION_URL": sinch.url, "DATABASE_URL": either_database}
    with mortal(tmp_path, **settings, WEB_CONCURRENCY="4") as service:
        yield service.start()


def ask_at_once(service, count, body, **headers):
    """The answers to the same request from so many clients at the same moment."""
    start = threading.Barrier(count)

    def ask(_):
        start.wait()
        return service.service.post(body, headers=AUTH | headers, timeout=60)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(ask, range(count)))


def test_eight_processes_on_one_file_are_never_locked_out(sinch, database_url, tmp_path):
    settings = PATIENT | {"SINCH_REGION_URL": sinch.url, "DATABASE_URL": database_url}
    # Eight that sweep four times a second would do little else.
    with mortal(tmp_path, **settings, WEB_CONCURRENCY="8", SWEEP_EVERY_S="0.5") as service:
        service.start()
        clients = Clients(service.url, make_order)

        with clients.sending(threads=8):
            wait_until(lambda: len(clients.orders) > 200, within_s=SOON_S, why="200 orders")
        wait_until(lambda: is_settled(service), within_s=SOON_S, why="nothing is under way")

        assert clients.cut == 0
        assert set(clients.codes) == {202}
        check_books(service, clients, sinch.copies())
        assert service.attention() == []
        assert service.stop() == 0
        assert "locked" not in service.output()
        assert service.violations() == []


def make_order(number):
    """The first is a large one, which goes out behind the others."""
    count = 30_000 if number == 0 else 1
    return broadcast_to(*many_numbers(count, start=number * 30_000))


def test_a_hundred_requests_with_one_key_make_one_broadcast(crowd, sinch):
    answers = ask_at_once(crowd, 100, broadcast_to(ANN), **{"Idempotency-Key": "one"})

    told = {answer.json()["broadcast_id"] for answer in answers if answer.status_code == 202}
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert told == {book["broadcast_id"] for book in crowd.books()}
    assert len(told) == 1
    assert sinch.copies() == {ANN: 1}


def test_of_a_hundred_equal_requests_without_a_key_one_is_taken(crowd, sinch):
    numbers = many_numbers(10)

    answers = ask_at_once(crowd, 100, broadcast_to(*numbers))

    assert Counter(answer.status_code for answer in answers) == {202: 1, 409: 99}
    assert len(crowd.books()) == 1
    assert sinch.copies() == dict.fromkeys(numbers, 1)
