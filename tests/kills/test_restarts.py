"""Restarts under load, a busy Sinch, a database that crashes: nobody twice, nobody lost."""

import os
import signal
import socket
import time

import pytest

from tests.factories import broadcast_to, many_numbers
from tests.kills.judging import check_books, is_settled
from tests.kills.mortal import PATIENT, Clients, mortal, wait_until

# A deadline of a test that hangs, and of nothing else: a busy machine takes minutes.
SOON_S = 300.0
MANY = 20_000


@pytest.fixture
def service(sinch, database_url, tmp_path):
    settings = PATIENT | {"SINCH_REGION_URL": sinch.url, "DATABASE_URL": database_url}
    settings["RETRY_WAIT_MAX_S"] = "1"
    with mortal(tmp_path, **settings, WEB_CONCURRENCY="2") as service:
        yield service.start()
        service.kill()
        assert service.violations() == []


def make_order(number):
    """The first and each tenth goes out behind the others."""
    count = 5_000 if number % 20 == 0 else 1
    return broadcast_to(*many_numbers(count, start=number * 5_000))


def settle_and_check(service, clients, sinch):
    wait_until(lambda: is_settled(service), within_s=SOON_S, why="nothing is under way")
    check_books(service, clients, sinch.copies())


def test_a_reload_under_load_is_seen_by_nobody(service, sinch):
    clients = Clients(service.url, make_order, pause_s=0.05)

    with clients.sending(threads=3):
        for _ in range(2):
            reload(service)
            time.sleep(0.5)
    settle_and_check(service, clients, sinch)

    assert set(clients.codes) == {202}
    assert clients.cut == 0
    assert service.attention() == []


def test_a_request_that_comes_while_its_worker_ends_is_answered(service):
    port = int(service.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 30) as connection:
        time.sleep(0.3)  # for the worker to accept it
        for worker in service.workers():
            os.kill(worker, signal.SIGTERM)
        time.sleep(0.3)
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = connection.recv(65_536)

    assert answer.startswith(b"HTTP/1.1 200 ")


def reload(service):
    """Have other workers take over from those there are."""
    before = set(service.workers())
    service.service.process.send_signal(signal.SIGHUP)
    wait_until(lambda: not before & set(service.workers()), within_s=SOON_S, why="others serve")


def test_stopped_and_started_under_load_it_loses_nobody(service, sinch):
    clients = Clients(service.url, make_order, pause_s=0.05)

    with clients.sending(threads=3):
        codes = []
        for _ in range(2):
            time.sleep(0.7)
            codes.append(service.stop())
            service.start()
    settle_and_check(service, clients, sinch)

    assert codes == [0, 0]
    assert set(clients.codes) <= {202, 409}
    assert service.attention() == []


def test_while_sinch_has_too_much_to_do_we_hardly_ask(service, sinch):
    sinch.control.order_fault(on="POST /batches", status=429, times=None)
    numbers = many_numbers(MANY)
    service.service.post(broadcast_to(*numbers))
    wait_until(sinch.control.posts, within_s=SOON_S, why="it is under way")
    began = time.monotonic()
    posts, burnt_s = sinch.control.posts(), cpu_s(service.workers())

    time.sleep(3)
    more, burnt_more_s = sinch.control.posts() - posts, cpu_s(service.workers()) - burnt_s
    lasted_s = time.monotonic() - began
    sinch.control.clear_faults()
    wait_until(lambda: is_settled(service), within_s=SOON_S, why="nothing is under way")

    # Each time the gate opens, each of the four senders may have begun before the first is refused.
    assert more <= 4 * (lasted_s + 1)
    assert burnt_more_s < lasted_s / 2
    assert sinch.copies() == dict.fromkeys(numbers, 1)


def cpu_s(pids):
    """The processor time that they have used."""
    ticks = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def test_a_database_that_crashes_and_recovers_repeats_and_loses_nobody(sinch, postgres, tmp_path):
    late = {"do": "drip", "byte_delay_s": 0, "delay_s": 0.1}
    sinch.control.order_fault(on="POST /batches", times=None, **late)
    settings = PATIENT | {"LEASE_S": "5", "DATABASE_URL": postgres.create_database()}
    with mortal(tmp_path, **settings, SINCH_REGION_URL=sinch.url, WEB_CONCURRENCY="2") as service:
        service.start()
        clients = Clients(service.url, make_order, pause_s=0.05)

        with clients.sending(threads=3):
            wait_until(lambda: sinch.control.posts() > 10, within_s=SOON_S, why="it is under way")
            postgres.restart("immediate")
            seen = sinch.control.posts()
            wait_until(lambda: sinch.control.posts() > seen + 10, within_s=SOON_S, why="it goes on")
        # Only now: until here clients go on asking for more.
        wait_until(lambda: is_settled(service), within_s=SOON_S, why="nothing is under way")

        check_books(service, clients, sinch.copies())
        assert service.violations() == []
