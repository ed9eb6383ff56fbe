"""The process dies at each crash point of the failure model, and what then must hold, holds."""

import contextlib
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import requests
from sqlalchemy import create_engine, text

from app.db.engine import Database
from tests.callers import count_taken
from tests.factories import AUTH, broadcast_to, many_numbers
from tests.kills.judging import is_settled
from tests.kills.mortal import mortal, wait_until

ANN, BOB = "+46701234567", "+46707654321"
# A deadline of a test that hangs, and of nothing else: a frozen process may hold a lock for half a
# minute, and a busy machine takes minutes.
SOON_S = 300.0
KEY = {"Idempotency-Key": "the same"}
# Frozen between its sweeps a process holds no lock.
FREEZABLE = {"SWEEP_EVERY_S": "60"}
# Long enough for a claim and its POST on a busy machine, short enough to wait for its end.
LEASE = {"LEASE_S": "3", "FIRST_BYTE_WITHIN_S": "2"}
# Patient with Sinch, where an answer is to be complete.
CALM = {"SINCH_CONNECT_TIMEOUT_S": "3", "SINCH_READ_TIMEOUT_S": "10", "SEND_BUDGET_S": "20"}
CALM |= {"LEASE_S": "60", "FIRST_BYTE_WITHIN_S": "10"}
# Time enough for a connection that comes about late.
SLOW = FREEZABLE | {
    "SINCH_CONNECT_TIMEOUT_S": "6",
    "SINCH_READ_TIMEOUT_S": "20",
    "SEND_BUDGET_S": "20",
}


@pytest.fixture
def service(sinch, database_url, tmp_path):
    yield from _service(sinch, database_url, tmp_path)


@pytest.fixture
def either_service(sinch, either_database, tmp_path):
    yield from _service(sinch, either_database, tmp_path)


def _service(sinch, url, tmp_path):
    with mortal(tmp_path, SINCH_REGION_URL=sinch.url, DATABASE_URL=url, **LEASE) as service:
        yield service
        service.kill()
        assert service.violations() == []


def send(service, *numbers, **headers):
    """The answer, which may have to wait for somebody who is frozen."""
    body = broadcast_to(*numbers)
    return service.service.post(body, headers=AUTH | headers, timeout=2 * SOON_S)


def send_and_die(service, body, **headers):
    """A client whose connection ends without an answer: its worker is dead, another starts."""
    with pytest.raises(requests.ConnectionError):
        service.service.post(body, headers=AUTH | headers)


def last_counts(service):
    """Where the recipients of the newest broadcast stand, and how many Sinch has."""
    counts = service.books()[0]["counts"]
    return counts | {"taken": count_taken(counts)}


def wait_for(service, word):
    wait_until(
        lambda: is_settled(service) and last_counts(service)[word],
        within_s=SOON_S,
        why=f"the last broadcast is {word}",
    )


def test_c0_before_the_commit_the_same_key_again_is_a_first_run(either_service, sinch):
    service = either_service.start(FAILPOINT="C0:2", **CALM)
    send(service, BOB)

    send_and_die(service, broadcast_to(ANN), **KEY)
    stored = len(service.books())
    again = send(service, ANN, **KEY)

    assert stored == 1
    assert again.json()["status"] == "complete"
    assert sinch.copies() == {BOB: 1, ANN: 1}
    assert len(service.books()) == 2


def test_c1_behind_the_commit_the_stored_answer_comes_again(either_service, sinch):
    service = either_service.start(FAILPOINT="C1:1")
    numbers = many_numbers(1500)

    send_and_die(service, broadcast_to(*numbers), **KEY)
    again = send(service, *numbers, **KEY)
    wait_for(service, "taken")

    assert again.status_code == 202
    assert [book["broadcast_id"] for book in service.books()] == [again.json()["broadcast_id"]]
    assert send(service, *numbers, **KEY).json() == again.json()
    assert sinch.copies() == dict.fromkeys(numbers, 1)


def test_c1_the_stored_answer_comes_although_its_start_has_passed_since(service, sinch):
    service.start(FAILPOINT="C1:1")
    start = datetime.now(UTC) + timedelta(seconds=5)
    body = broadcast_to(ANN, send_at=start.isoformat())

    send_and_die(service, body, **KEY)
    wait_for(service, "taken")
    again = service.service.post(body, headers=AUTH | KEY)

    assert again.status_code == 202
    assert again.json()["broadcast_id"] == service.books()[0]["broadcast_id"]
    assert sinch.copies() == {ANN: 1}


def test_c1_within_the_request_its_key_is_running_and_the_text_unknown_but_not_sent_again(
    service, sinch
):
    service.start(FAILPOINT="C1:2")
    send(service, BOB)

    send_and_die(service, broadcast_to(ANN), **KEY)
    again = send(service, ANN, **KEY)
    wait_for(service, "unconfirmed")

    assert again.status_code == 409
    assert again.headers["Retry-After"] == "2"
    assert sinch.copies() == {BOB: 1}


def test_c2_what_nobody_was_nudged_about_is_found_by_another_process(service, sinch):
    numbers = many_numbers(2500)
    service.start(FAILPOINT="C1:1", WEB_CONCURRENCY="2")

    send_and_die(service, broadcast_to(*numbers))
    wait_for(service, "taken")

    assert sinch.copies() == dict.fromkeys(numbers, 1)


def test_c3_claimed_but_not_begun_it_is_an_operator_who_sends_it_again(either_service, sinch):
    service = either_service.start(FAILPOINT="C3:2")
    send(service, BOB)

    send_and_die(service, broadcast_to(ANN))
    wait_for(service, "unconfirmed")
    (reference,) = service.attention()
    before = sinch.copies()
    service.resolve(reference, "resend")
    wait_for(service, "taken")

    assert before == {BOB: 1}
    assert sinch.copies() == {BOB: 1, ANN: 1}
    assert sinch.references()[reference] == 1


def test_c4_with_its_bytes_on_the_wire_it_is_found_at_sinch(service, sinch):
    service.start(FAILPOINT="C4:1")

    send_and_die(service, broadcast_to(ANN))
    wait_for(service, "taken")

    assert sinch.copies() == {ANN: 1}


def test_c5_with_the_answer_read_but_not_noted_it_is_found_at_sinch(service, sinch):
    service.start(FAILPOINT="C5:1")

    send_and_die(service, broadcast_to(ANN))
    wait_for(service, "taken")

    assert sinch.copies() == {ANN: 1}


def test_c6_noted_but_not_answered_it_stays_accepted(service, sinch):
    service.start(FAILPOINT="C6:1")

    send_and_die(service, broadcast_to(ANN))
    wait_for(service, "taken")

    assert sinch.control.posts() == 1
    assert sinch.copies() == {ANN: 1}


def test_c7_dying_in_the_middle_of_finding_out_only_takes_longer(service, sinch):
    sinch.control.order_fault(on="POST /batches", when="after", do="cut")
    service.start(FAILPOINT="C7:1")

    send_and_die(service, broadcast_to(ANN))
    service.kill()
    service.start()
    wait_for(service, "taken")

    assert sinch.copies() == {ANN: 1}


def test_c8_frozen_past_its_lease_a_worker_does_not_begin(either_service, sinch):
    watcher = either_service.start()
    send(watcher, BOB)
    with watcher.twin(FAILPOINT="C8:1", **FREEZABLE) as frozen, ThreadPoolExecutor() as threads:
        waiting = threads.submit(send, frozen, ANN)
        wait_for(watcher, "unconfirmed")

        signal_all(frozen.workers(), signal.SIGCONT)
        answer = waiting.result(SOON_S)

    assert answer.json()["batch_id"] is None
    assert sinch.copies() == {BOB: 1}
    assert last_counts(watcher)["unconfirmed"] == 1


def test_c8_frozen_while_it_connects_a_worker_does_not_begin_either(service, sinch):
    service.start()
    send(service, BOB)
    with (
        full_house() as house,
        service.twin(SINCH_REGION_URL=house.url, **SLOW) as frozen,
        ThreadPoolExecutor() as threads,
    ):
        waiting = threads.submit(send, frozen, ANN)
        wait_until(service.has_claimed, within_s=SOON_S, why="it is claimed")
        signal_all(frozen.workers(), signal.SIGSTOP)
        wait_for(service, "unconfirmed")

        house.open()
        signal_all(frozen.workers(), signal.SIGCONT)
        answer = waiting.result(SOON_S)

    assert answer.json()["batch_id"] is None
    assert house.visitors > 0
    assert "POST" not in house.heard
    assert last_counts(service)["unconfirmed"] == 1


def test_c9_a_process_that_dies_in_the_last_commit_finds_its_batch_at_sinch(service, sinch):
    service.start(FAILPOINT="C9:1")

    send_and_die(service, broadcast_to(ANN))
    wait_for(service, "taken")

    assert sinch.copies() == {ANN: 1}


def test_c9_what_the_database_does_not_take_is_kept_in_mind_until_it_does(either_service, sinch):
    service = either_service.start(**CALM)
    with ThreadPoolExecutor() as threads:
        refuse_acceptance(service.database_url)
        waiting = threads.submit(send, service, ANN)
        wait_until(sinch.copies, within_s=SOON_S, why="it is at Sinch")
        time.sleep(0.5)
        meanwhile = service.books()[0]["batches"]

        allow_acceptance(service.database_url)
        answer = waiting.result(SOON_S)

    assert meanwhile == {"sending": 1}
    assert answer.json()["status"] == "complete"
    assert sinch.copies() == {ANN: 1}
    asked = [each["operation"] for each in sinch.control.requests()]
    assert [each for each in asked if each != "GET /inbounds"] == ["POST /batches"]


def test_c12_on_sigterm_the_posts_in_hand_are_finished_and_nothing_else_is_begun(service, sinch):
    slow = {"SINCH_READ_TIMEOUT_S": "10", "LEASE_S": "60"}
    # Whole answers, but each half a second late.
    late = {"do": "drip", "byte_delay_s": 0, "delay_s": 0.5}
    sinch.control.order_fault(on="POST /batches", times=None, **late)
    service.start(**slow)
    numbers = many_numbers(20_000)
    send(service, *numbers)
    wait_until(lambda: sinch.control.posts() > 2, within_s=SOON_S, why="it is under way")

    started = time.monotonic()
    code = service.stop()
    took_s = time.monotonic() - started
    states = service.states()
    sent = len(sinch.references())

    assert code == 0
    assert took_s < 25
    assert states == {"accepted": sent, "pending": 20 - sent}
    assert sent < 20

    sinch.control.clear_faults()
    service.start()
    wait_for(service, "taken")

    assert sinch.copies() == dict.fromkeys(numbers, 1)


def signal_all(pids, number):
    for pid in pids:
        os.kill(pid, number)


class FullHouse:
    """A listener whose queue is full: whoever connects is kept waiting until it opens."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self._inside = []
        self.heard = []
        self.visitors = 0
        address = self._listener.getsockname()
        self.url = f"http://127.0.0.1:{address[1]}"
        while self._enter(address):
            pass
        self._fillers = len(self._inside)

    def _enter(self, address):
        guest = socket.socket()
        guest.settimeout(0.2)
        try:
            guest.connect(address)
        except TimeoutError:
            guest.close()
            return False
        self._inside.append(guest)
        return True

    def open(self):
        """Let everybody in, and note what they want."""
        threading.Thread(target=self._welcome, daemon=True).start()

    def _welcome(self):
        with contextlib.suppress(OSError):
            while True:
                guest, _ = self._listener.accept()
                self._inside.append(guest)
                self._fillers -= 1
                if self._fillers >= 0:
                    continue
                self.visitors += 1
                guest.settimeout(5)
                self.heard.append(guest.recv(1000).decode().partition(" ")[0])

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        for each in (self._listener, *self._inside):
            each.close()


def full_house():
    return contextlib.closing(FullHouse())


REFUSE = {
    "sqlite": "CREATE TRIGGER refuse BEFORE UPDATE ON batches WHEN NEW.state = 'accepted' "
    "BEGIN SELECT RAISE(ABORT, 'no'); END",
    "postgresql": "ALTER TABLE batches ADD CONSTRAINT refuse CHECK (state <> 'accepted')",
}
ALLOW = {
    "sqlite": "DROP TRIGGER refuse",
    "postgresql": "ALTER TABLE batches DROP CONSTRAINT refuse",
}


def refuse_acceptance(url):
    execute(url, REFUSE)


def allow_acceptance(url):
    execute(url, ALLOW)


def execute(url, statements):
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(statements[engine.dialect.name]))
    engine.dispose()


def test_a_frozen_process_holds_its_locks_for_a_bounded_time(postgres):
    db = Database(postgres.create_database())
    with db.read() as tx:
        bound = tx.execute(text("SHOW idle_in_transaction_session_timeout")).scalar()
    db.close()

    assert bound == "30s"
