"""The Sinch session on a real socket: retries, deadlines, and proof that nothing was sent."""

import contextlib
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.sinch import session
from app.sinch.client import SinchClient
from app.sinch.errors import (
    SinchAnswerUnusable,
    SinchError,
    SinchMisconfigured,
    SinchNotSent,
    SinchOutcomeUnknown,
    SinchRejected,
    SinchUnreachable,
)
from app.sinch.schemas import OutgoingBatch
from tests.sinch.batches import prepare
from tests.wire import RawServer, respond, send_raw, unused_port

BATCH = prepare(
    OutgoingBatch(recipients=["+46700000001"], text="x", sender="Acme", client_reference="cl-1")
)
TAKEN = respond("201 Created", b'{"id":"01JX0000000000000000000001"}')
# Far more than what ends in time takes on a busy machine, far less than what does not.
LONG_S = 10.0
CERTIFICATE = Path(__file__).parent.parent / "payloads/loopback.pem"


@pytest.fixture
def connect():
    """A function that makes a client of some address."""
    made = []

    def make(url, **more):
        options = {"connect_timeout_s": 3.0, "read_timeout_s": 5.0} | more
        made.append(SinchClient(url=url, service_plan_id="plan", api_token="t", **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


def test_a_connection_is_kept_and_used_again(connect):
    with RawServer(TAKEN).running() as server:
        sinch = connect(server.url)
        for _ in range(5):
            assert sinch.send_batch(BATCH).id == "01JX0000000000000000000001"

    assert (len(server.requests), server.connections) == (5, 1)


def test_a_connection_idle_for_long_is_not_trusted_again(connect, monkeypatch):
    with RawServer(TAKEN).running() as server:
        sinch = connect(server.url)
        sinch.send_batch(BATCH)
        monkeypatch.setattr(session, "MAX_IDLE_S", 0.0)
        sinch.send_batch(BATCH)

    assert server.connections == 2


def test_nobody_listening_is_proven_unsent(connect):
    with pytest.raises(SinchUnreachable):
        connect(f"http://127.0.0.1:{unused_port()}").send_batch(BATCH)


def test_a_name_that_does_not_resolve_is_proven_unsent(connect):
    with pytest.raises(SinchUnreachable):
        connect("http://no-such-host.invalid").send_batch(BATCH)


def test_a_connection_that_never_opens_is_proven_unsent(connect):
    # A full backlog leaves further connections half open.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        started = time.monotonic()
        with pytest.raises(SinchUnreachable):
            connect(f"http://127.0.0.1:{address[1]}", connect_timeout_s=0.3).send_batch(BATCH)
        took_s = time.monotonic() - started
        for filler in fillers:
            filler.close()

    assert took_s < LONG_S


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(send_raw(b""), id="closed without a word"),
        pytest.param(send_raw(b"HTTP/1.1 20"), id="cut in the status line"),
        pytest.param(send_raw(b"SSH-2.0-OpenSSH\r\n"), id="not HTTP"),
        pytest.param(send_raw(b"\x15\x03\x01\x00\x02\x02\x46"), id="a TLS alert"),
        pytest.param(
            send_raw(b"HTTP/1.1 201 Created\r\n" + b"X: y\r\n" * 200 + b"\r\n"), id="200 headers"
        ),
        pytest.param(lambda connection: time.sleep(1.0), id="silence"),
    ],
)
def test_a_request_that_left_without_an_answer_is_unknown_and_not_repeated(connect, answer):
    with RawServer(answer).running() as server:
        with pytest.raises(SinchOutcomeUnknown):
            connect(server.url, read_timeout_s=0.5).send_batch(BATCH)
        time.sleep(0.1)

        assert len(server.requests) == 1


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 Temp", "308 Perm"])
def test_a_redirect_is_not_followed(connect, status):
    target = RawServer(TAKEN)
    with target.running():
        redirect = respond(status, headers=f"Location: {target.url}/xms/v1/plan/batches\r\n")
        with RawServer(redirect).running() as server, pytest.raises(SinchMisconfigured):
            connect(server.url).send_batch(BATCH)

    assert (len(server.requests), len(target.requests)) == (1, 0)


@pytest.mark.parametrize(
    "status",
    ["408 Late", "409 Conflict", "418 Teapot", "500 Oops", "502 Bad", "503 No", "504 Late"],
)
def test_a_status_that_proves_nothing_is_unknown_and_not_repeated(connect, status):
    retry = respond(status, headers="Retry-After: 0\r\n")
    with RawServer(retry).running() as server:
        with pytest.raises(SinchOutcomeUnknown):
            connect(server.url).send_batch(BATCH)

        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'HTTP/1.1 201 Created\r\nContent-Length: 99\r\n\r\n{"id":"01JX', id="half"),
        pytest.param(b"HTTP/1.1 201 Created\r\nContent-Le", id="cut in the head"),
        pytest.param(
            b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="bad chunk"
        ),
        pytest.param(
            b'HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"id"', id="half chunk"
        ),
    ],
)
def test_a_201_with_half_a_body_is_taken_but_without_id(connect, body):
    with RawServer(send_raw(body)).running() as server:
        assert connect(server.url).send_batch(BATCH).id is None

        assert len(server.requests) == 1


def test_an_endless_body_is_cut_off(connect):
    def flood(connection):
        connection.sendall(b"HTTP/1.1 201 Created\r\n\r\n")
        while True:
            connection.sendall(b" " * 65_536)

    with RawServer(flood).running() as server:
        assert connect(server.url).send_batch(BATCH).id is None


def test_a_dripping_body_is_cut_off_in_time(connect):
    def drip(connection):
        connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 1000\r\n\r\n")
        while True:
            connection.sendall(b" ")
            time.sleep(0.05)

    started = time.monotonic()
    with RawServer(drip).running() as server:
        assert connect(server.url).send_batch(BATCH, within_s=0.5).id is None

    assert time.monotonic() - started < LONG_S


def _drip(data, *, every_s):
    """These bytes one by one; the connection stays open behind them."""

    def answer(connection):
        for byte in data:
            connection.sendall(bytes([byte]))
            time.sleep(every_s)
        time.sleep(30)

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(_drip(b"HTTP/1.1 201 Created\r\nX: " + b"y" * 500, every_s=0.1), id="head"),
        pytest.param(
            _drip(b"HTTP/1.1 201 Created\r\nContent-Length: 99\r\n\r\n{", every_s=0.01), id="body"
        ),
        pytest.param(
            _drip(b"HTTP/1.1 100 Continue\r\n\r\n" * 100, every_s=0.05), id="interim answers"
        ),
    ],
)
@pytest.mark.parametrize("secured", [False, True], ids=["plain", "tls"])
def test_an_exchange_ends_in_time_however_the_answer_drips(connect, tls, answer, secured):
    with RawServer(answer, tls=tls if secured else None).running() as server:
        sinch = connect(server.url, ca_file=CERTIFICATE, read_timeout_s=30.0)
        started = time.monotonic()
        with contextlib.suppress(SinchOutcomeUnknown):
            assert sinch.send_batch(BATCH, within_s=0.7).id is None
        took_s = time.monotonic() - started

        assert 0.6 < took_s < LONG_S
        assert len(server.requests) == 1


def test_a_tls_handshake_that_drips_is_proven_unsent_in_time(connect):
    def hang(connection):
        time.sleep(30)

    with RawServer(hang).running() as server:
        started = time.monotonic()
        with pytest.raises(SinchUnreachable):
            connect(server.url.replace("http:", "https:")).send_batch(BATCH, within_s=0.7)

    assert time.monotonic() - started < LONG_S


def test_a_deadline_passed_is_not_sent_after(connect):
    with RawServer(TAKEN).running() as server:
        with pytest.raises(SinchUnreachable):
            connect(server.url).send_batch(BATCH, within_s=-1.0)

        assert server.requests == []


def test_an_interim_answer_does_not_become_the_answer_to_the_next_request(connect):
    def early_hints(connection):
        if len(server.requests) == 1:
            connection.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            time.sleep(0.2)
            with contextlib.suppress(OSError):
                TAKEN(connection)
        else:
            respond("400 Bad Request")(connection)

    with RawServer(early_hints).running() as server:
        sinch = connect(server.url)
        with pytest.raises(SinchOutcomeUnknown):
            sinch.send_batch(BATCH)
        time.sleep(0.4)
        with pytest.raises(SinchRejected):
            sinch.send_batch(BATCH)


def test_a_question_is_asked_twice_at_most(connect):
    with RawServer(respond("503 No")).running() as server:
        with pytest.raises(SinchAnswerUnusable):
            connect(server.url).list_batches(
                client_reference="cl-1", created_after=datetime.now(UTC)
            )

        assert len(server.requests) == 2


def test_a_question_survives_one_cut(connect):
    page = b'{"count":0,"batches":[]}'
    answers = iter([send_raw(b""), respond("200 OK", page)])
    with RawServer(lambda connection: next(answers)(connection)).running() as server:
        found = connect(server.url).list_batches(
            client_reference="cl-1", created_after=datetime.now(UTC)
        )

    assert (found, len(server.requests)) == ([], 2)


def test_a_question_ends_in_time_when_nobody_answers(connect):
    started = time.monotonic()
    with (
        RawServer(lambda connection: time.sleep(30)).running() as server,
        pytest.raises(SinchAnswerUnusable),
    ):
        connect(server.url).list_batches(
            client_reference="cl-1", created_after=datetime.now(UTC), within_s=0.6
        )

    assert time.monotonic() - started < LONG_S


@pytest.fixture
def tls():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


def test_over_tls_with_a_known_certificate_it_is_sent(connect, tls):
    with RawServer(TAKEN, tls=tls).running() as server:
        assert connect(server.url, ca_file=CERTIFICATE).send_batch(BATCH).id


def test_a_certificate_nobody_vouches_for_is_proven_unsent(connect, tls):
    with RawServer(TAKEN, tls=tls).running() as server:
        with pytest.raises(SinchUnreachable):
            connect(server.url).send_batch(BATCH)

        assert server.requests == []


def test_a_tls_error_after_writing_is_unknown_and_not_repeated(connect, tls):
    def break_tls(connection):
        raw = socket.socket(fileno=socket.dup(connection.fileno()))
        raw.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        raw.close()
        time.sleep(0.2)

    with RawServer(break_tls, tls=tls).running() as server:
        with pytest.raises(SinchOutcomeUnknown):
            connect(server.url, ca_file=CERTIFICATE).send_batch(BATCH)
        time.sleep(0.1)

        assert len(server.requests) == 1


def test_plain_http_where_tls_is_expected_is_proven_unsent(connect):
    with RawServer(TAKEN).running() as server:
        url = server.url.replace("http:", "https:")
        with pytest.raises(SinchUnreachable):
            connect(url).send_batch(BATCH)


@pytest.fixture
def deaf_url():
    """URL whose connections never open: a full backlog leaves further ones half open."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for filler in fillers:
            filler.close()


def test_three_tries_to_connect_fit_into_the_time_given(connect, deaf_url):
    started = time.monotonic()
    with pytest.raises(SinchUnreachable):
        connect(deaf_url, connect_timeout_s=30.0).send_batch(BATCH, within_s=0.6)

    assert time.monotonic() - started < LONG_S


@pytest.mark.parametrize(("read_timeout_s", "within_s"), [(0.3, 30.0), (30.0, 0.3)])
def test_silence_is_waited_for_no_longer_than_the_shorter_limit(connect, read_timeout_s, within_s):
    started = time.monotonic()
    with RawServer(lambda connection: time.sleep(30)).running() as server:
        sinch = connect(server.url, read_timeout_s=read_timeout_s)
        with pytest.raises(SinchOutcomeUnknown):
            sinch.send_batch(BATCH, within_s=within_s)

    assert time.monotonic() - started < LONG_S


def test_a_list_without_end_is_unusable_in_time(connect):
    page = b'{"count":1000000,"batches":[{"id":"x","to":[],"client_reference":"cl-1"}]}'

    def answer_slowly(connection):
        time.sleep(0.02)
        respond("200 OK", page)(connection)

    started = time.monotonic()
    with RawServer(answer_slowly).running() as server, pytest.raises(SinchAnswerUnusable):
        connect(server.url).list_batches(
            client_reference="cl-1", created_after=datetime.now(UTC), within_s=0.4
        )

    assert time.monotonic() - started < LONG_S


def test_all_pages_of_a_list_share_one_time(connect):
    page = b'{"count":2,"batches":[{"id":"x","to":[],"client_reference":"cl-1"}]}'
    delays_s = iter([0.45, 30.0, 30.0])

    def answer_late(connection):
        time.sleep(next(delays_s))
        respond("200 OK", page)(connection)

    started = time.monotonic()
    with RawServer(answer_late).running() as server, pytest.raises(SinchAnswerUnusable):
        connect(server.url).list_batches(
            client_reference="cl-1", created_after=datetime.now(UTC), within_s=1.0
        )

    assert time.monotonic() - started < LONG_S


def test_a_connection_that_sinch_closed_while_idle_is_not_written_to(connect):
    def take_and_close(connection):
        TAKEN(connection)
        connection.shutdown(socket.SHUT_RDWR)

    with RawServer(take_and_close).running() as server:
        sinch = connect(server.url)
        sinch.send_batch(BATCH)
        time.sleep(0.1)

        assert sinch.send_batch(BATCH).id == "01JX0000000000000000000001"
        assert (len(server.requests), server.connections) == (2, 2)


def test_as_many_connections_are_kept_as_the_pool_is_large(connect):
    def take_slowly(connection):
        time.sleep(0.2)
        TAKEN(connection)

    with RawServer(take_slowly).running() as server:
        sinch = connect(server.url, pool_size=4)
        for _ in range(2):
            with ThreadPoolExecutor(4) as pool:
                list(pool.map(sinch.send_batch, [BATCH] * 4))

    assert (len(server.requests), server.connections) == (8, 4)


def test_what_left_in_one_thread_is_not_taken_for_unsent_because_of_another(connect):
    with RawServer(lambda connection: time.sleep(1.0)).running() as server:
        sinch, nowhere = (
            connect(server.url, read_timeout_s=0.5),
            connect(f"http://127.0.0.1:{unused_port()}"),
        )
        with ThreadPoolExecutor(1) as pool:
            hanging = pool.submit(sinch.send_batch, BATCH)
            while not server.requests:
                time.sleep(0.01)
            with pytest.raises(SinchUnreachable):
                nowhere.send_batch(BATCH)

            assert isinstance(hanging.exception(), SinchOutcomeUnknown)


def test_a_cancellation_without_an_answer_is_not_repeated(connect):
    with RawServer(send_raw(b"")).running() as server:
        with pytest.raises(SinchOutcomeUnknown):
            connect(server.url).cancel_batch("01JX0000000000000000000001")
        time.sleep(0.1)

        assert len(server.requests) == 1


@pytest.mark.parametrize("status", ["429 Busy", "503 No"])
def test_a_question_does_not_wait_as_long_as_sinch_wishes(connect, status):
    started = time.monotonic()
    busy = respond(status, headers="Retry-After: 30\r\n")
    with RawServer(busy).running() as server, pytest.raises(SinchError):
        connect(server.url).list_batches(client_reference="cl-1", created_after=datetime.now(UTC))

    assert time.monotonic() - started < LONG_S


@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(b'Content-Length: 99\r\n\r\n{"count":0,"batches":[]}', id="too short"),
        pytest.param(
            b'Transfer-Encoding: chunked\r\n\r\n18\r\n{"count":0,"batches":[]}\r\n',
            id="no last chunk",
        ),
    ],
)
def test_a_list_that_was_cut_is_unusable_even_when_it_reads_as_whole(connect, cut):
    with (
        RawServer(send_raw(b"HTTP/1.1 200 OK\r\n" + cut)).running() as server,
        pytest.raises(SinchAnswerUnusable),
    ):
        connect(server.url).list_batches(client_reference="cl-1", created_after=datetime.now(UTC))


def test_a_question_keeps_to_its_own_time_and_not_to_that_of_a_post(connect):
    started = time.monotonic()
    with (
        RawServer(lambda connection: time.sleep(30)).running() as server,
        pytest.raises(SinchAnswerUnusable),
    ):
        connect(server.url, read_timeout_s=30.0).list_batches(
            client_reference="cl-1", created_after=datetime.now(UTC), within_s=0.6
        )

    assert time.monotonic() - started < LONG_S


def test_an_endless_body_is_cut_off_by_its_size_long_before_its_time(connect):
    def flood(connection):
        connection.sendall(b"HTTP/1.1 201 Created\r\n\r\n")
        while True:
            connection.sendall(b" " * 1_000_000)
            time.sleep(0.02)

    started = time.monotonic()
    with RawServer(flood).running() as server:
        assert connect(server.url, read_timeout_s=30.0).send_batch(BATCH, within_s=30.0).id is None

    assert time.monotonic() - started < LONG_S


def test_a_list_that_drips_on_after_its_last_brace_is_unusable(connect):
    def drip(connection):
        page = b'{"count":0,"batches":[]}'
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + page)
        while True:
            connection.sendall(b" ")
            time.sleep(0.05)

    with RawServer(drip).running() as server, pytest.raises(SinchAnswerUnusable):
        connect(server.url).list_batches(
            client_reference="cl-1", created_after=datetime.now(UTC), within_s=0.6
        )


def test_a_201_that_was_cut_is_not_believed_even_when_it_reads_as_whole(connect):
    cut = b'HTTP/1.1 201 Created\r\nContent-Length: 99\r\n\r\n{"id":"01JX0000000000000000000001"}'
    with RawServer(send_raw(cut)).running() as server:
        assert connect(server.url).send_batch(BATCH).id is None


def test_a_connection_is_tried_three_times(connect, deaf_url):
    started = time.monotonic()
    with pytest.raises(SinchUnreachable):
        connect(deaf_url, connect_timeout_s=0.3).send_batch(BATCH, within_s=30.0)

    assert 0.8 < time.monotonic() - started < LONG_S


def test_unreachable_is_one_of_the_proofs_that_nothing_was_sent(connect):
    with pytest.raises(SinchNotSent):
        connect(f"http://127.0.0.1:{unused_port()}").send_batch(BATCH)
