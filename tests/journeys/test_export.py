"""A large file of messages from a real server: whole for its readers, harmless for all others."""

import csv
import io
import socket
import time

import pytest
import requests

from app.db.engine import Database
from bench.sample_broadcast import add_broadcast
from tests.factories import AUTH, broadcast_to
from tests.processes import running, wait_until_healthy

# Some megabytes, more than fits between a service and a client that does not read.
RECIPIENTS = 60_000


@pytest.fixture(scope="module")
def service(sandbox_server, tmp_path_factory):
    """With one thread for each of four clients; whoever does not read is waited for a second."""
    folder = tmp_path_factory.mktemp("service")
    few = {"WEB_THREADS": "4", "CLIENT_TIMEOUT_S": "1"}
    with running(folder / "output", SINCH_REGION_URL=sandbox_server.url, **few) as service:
        yield service


@pytest.fixture(scope="module")
def path(service, request):
    """Where the file of a broadcast to many is."""
    db = Database(f"sqlite:///{service.output.parent / 'clarion.db'}")
    public_id = add_broadcast(db, RECIPIENTS, client="tests")
    db.close()
    return f"/api/broadcasts/{public_id}/messages.csv"


def _begin_to_read(service, path):
    """A client with little room, which has asked for the file and read its first piece."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(60)
    connection.connect(("127.0.0.1", int(service.url.rpartition(":")[2])))
    key = AUTH["X-API-Key"]
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n\r\n"
    connection.sendall(request.encode())
    assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    return connection


def test_all_of_it_comes(service, path):
    answer = requests.get(service.url + path, headers=AUTH, timeout=60)

    rows = list(csv.DictReader(io.StringIO(answer.text, newline=""), strict=True))
    assert answer.status_code == 200
    assert len({row["recipient"] for row in rows}) == len(rows) == RECIPIENTS


def test_clients_that_go_away_or_stop_reading_harm_nobody(service, path, sandbox):
    gone = [_begin_to_read(service, path) for _ in range(2)]
    silent = [_begin_to_read(service, path) for _ in range(2)]
    for connection in gone:
        connection.close()

    started = time.monotonic()
    answer = service.post(broadcast_to("+46701234567"))
    waited_s = time.monotonic() - started
    whole = requests.get(service.url + path, headers=AUTH, timeout=60)

    assert answer.status_code == 202
    assert waited_s < 15
    assert whole.text.count("\r\n") == RECIPIENTS + 1
    assert "request failed in the server" not in service.output.read_text()
    for connection in silent:
        connection.close()
    wait_until_healthy(service)


def test_a_file_on_its_way_keeps_no_write_waiting(service, path, sandbox):
    reading = _begin_to_read(service, path)

    waits_s = []
    for number in range(3):
        started = time.monotonic()
        assert service.post(broadcast_to(f"+4670765432{number}")).status_code == 202
        waits_s.append(time.monotonic() - started)

    reading.close()
    assert max(waits_s) < 3
