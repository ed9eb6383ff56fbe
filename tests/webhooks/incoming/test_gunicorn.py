"""Callbacks as they come over the wire, broken ones too."""

import http.client
import socket
import time

import pytest
from sqlalchemy import select

from app.db.engine import Database
from app.sms.models.reports import Event
from tests.processes import running
from tests.reporting import report
from tests.signing import sign
from tests.webhooks.incoming.conftest import PATH, SECRET

SILENCE_S = 4
RAW = report("+46701234567", "Delivered", reference="cl-1")


@pytest.fixture(scope="module")
def service(sandbox_server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    settings = {
        "SINCH_REGION_URL": sandbox_server.url,
        "SINCH_WEBHOOK_SECRET": SECRET,
        "CLIENT_TIMEOUT_S": str(SILENCE_S),
    }
    with running(folder / "output", **settings) as service:
        yield service


@pytest.fixture
def port(service):
    return int(service.url.rpartition(":")[2])


@pytest.fixture
def stored(service):
    """A function that gives the events kept since; those of batches we do not know are."""
    db = Database(f"sqlite:///{service.output.parent / 'clarion.db'}")

    def read():
        with db.read() as tx:
            return list(tx.execute(select(Event.raw)).scalars())

    before = len(read())
    yield lambda: read()[before:]
    db.close()


def talk(port, sent):
    """The first bytes of what comes back."""
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(sent)
        return connection.recv(65_536)[:12]


def head(*, length):
    lines = [f"{name}: {value}" for name, value in sign(RAW, secret=SECRET).items()]
    return "\r\n".join([f"POST {PATH} HTTP/1.1", "Host: x", *lines, length, "", ""]).encode()


def test_one_connection_brings_many_whatever_becomes_of_each(port, stored):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    codes = []

    for secret in (SECRET, "guessed", SECRET, "guessed", SECRET):
        connection.request("POST", PATH, RAW, sign(RAW, secret=secret))
        answer = connection.getresponse()
        answer.read()
        codes.append(answer.status)
    connection.close()

    assert codes == [200, 401, 200, 401, 200]
    assert stored() == [RAW] * 3


def test_chunks_are_put_together(port, stored):
    chunked = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (RAW[:9], RAW[9:]))

    answer = talk(port, head(length="Transfer-Encoding: chunked") + chunked + b"0\r\n\r\n")

    assert answer == b"HTTP/1.1 200"
    assert stored() == [RAW]


@pytest.mark.parametrize("chunk", [b"zz\r\n", b"-5\r\n", b"5\r\n{}"])
def test_broken_chunks_are_a_bad_request(port, stored, chunk):
    sent = head(length="Transfer-Encoding: chunked") + chunk

    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65_536)[:12]

    assert answer == b"HTTP/1.1 400"
    assert stored() == []


def test_half_a_body_is_no_event(port, stored):
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(head(length=f"Content-Length: {len(RAW)}") + RAW[:50])
        connection.shutdown(socket.SHUT_WR)
        answer = connection.recv(65_536)[:12]

    assert answer in (b"HTTP/1.1 400", b"")
    assert stored() == []


def test_a_sender_that_falls_silent_is_not_waited_for(port, stored):
    answer = talk(port, head(length=f"Content-Length: {len(RAW)}") + RAW[:50])

    assert answer in (b"HTTP/1.1 400", b"")
    assert stored() == []


@pytest.mark.parametrize("length", ["1000001", "0000000001000001", "9" * 15])
def test_a_body_that_is_too_large_is_refused_before_it_comes(port, stored, length):
    began = time.monotonic()
    answer = talk(port, head(length=f"Content-Length: {length}"))

    assert answer == b"HTTP/1.1 413"
    assert time.monotonic() - began < SILENCE_S - 0.5
    assert stored() == []
