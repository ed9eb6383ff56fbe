"""One POST to a receiver that is trusted with nothing, on a real socket."""

import contextlib
import os
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from app.deadline import read_retry_after
from app.webhooks.outgoing.http_client import MAX_ANSWER_BYTES, WebhookHttpClient
from app.webhooks.outgoing.url_policy import TargetRefused
from tests.webhooks.outgoing.receivers import (
    CERTIFICATE,
    TAKEN,
    black_hole,
    drip,
    endless,
    make_tls,
    refuse,
    wait,
)
from tests.wire import respond, send_raw, unused_port

BODY = b'{"id":"1"}'
HEADERS = {"Content-Type": "application/json", "webhook-id": "1"}
# Time enough for a busy machine, and much less than what the receivers here would take.
HASTY_S = 0.6
SLACK_S = 10.0


@pytest.fixture
def webhook_client():
    """A client that waits longer than a busy machine takes."""
    return WebhookHttpClient(production=False, within_s=60.0)


@pytest.fixture
def hasty_client():
    """A client for receivers that keep it waiting."""
    return WebhookHttpClient(production=False, within_s=HASTY_S)


def _addresses(*names, port):
    """As a resolver gives them."""
    return [
        found for each in names for found in socket.getaddrinfo(each, port, type=socket.SOCK_STREAM)
    ]


def _post(webhook_client, url):
    return webhook_client.post(url, BODY, HEADERS)


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "202 Accepted", "204 No Content"])
def test_what_is_posted_arrives_as_it_is(webhook_client, receive, status):
    receiver = receive(respond(status))

    outcome = _post(webhook_client, f"{receiver.url}?from=us&x=%20")

    assert (outcome.problem, outcome.http_status) == (None, int(status[:3]))
    (told,) = receiver.told
    assert (told.path, told.body) == ("/hook?from=us&x=%20", BODY)
    assert told.headers == {
        "host": receiver.url.split("/")[2],
        "content-type": "application/json",
        "webhook-id": "1",
        "content-length": str(len(BODY)),
        "accept-encoding": "identity",
        "connection": "close",
        "user-agent": "clarion",
    }


@pytest.mark.parametrize(
    "status", ["400 No", "401 No", "404 No", "409 No", "429 No", "500 No", "503 No", "999 No"]
)
def test_anything_but_2xx_is_not_taken(webhook_client, receive, status):
    receiver = receive(respond(status, b"your secret is 4711"))

    outcome = _post(webhook_client, receiver.url)

    assert (outcome.problem, outcome.http_status) == (f"HTTP {status[:3]}.", int(status[:3]))
    assert not outcome.gone


def test_gone_is_told_apart(webhook_client, receive):
    assert _post(webhook_client, receive(respond("410 Gone")).url).gone


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(webhook_client, receive, status):
    elsewhere = receive()
    receiver = receive(refuse(f"{status} Moved", Location=elsewhere.url))

    outcome = _post(webhook_client, receiver.url)

    assert outcome.problem == f"HTTP {status}: redirects are not followed."
    assert (len(receiver.told), len(elsewhere.told)) == (1, 0)


def test_nothing_is_taken_from_the_environment(webhook_client, receive, tmp_path, monkeypatch):
    proxy, receiver = receive(), receive()
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login us password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv(name.lower(), proxy.url)
    monkeypatch.setenv("NO_PROXY", "")
    assert "http_proxy" in os.environ

    outcome = _post(webhook_client, receiver.url)

    assert outcome.problem is None
    assert proxy.connections == 0
    assert "authorization" not in receiver.told[0].headers


def test_a_connection_that_is_refused_is_told_at_once(webhook_client):
    outcome = _post(webhook_client, f"http://127.0.0.1:{unused_port()}/")

    assert outcome.problem == "No connection."
    assert outcome.duration_s < SLACK_S


def test_a_port_that_never_answers_is_left_in_time(hasty_client):
    with black_hole() as url:
        outcome = _post(hasty_client, url)

    assert outcome.problem == "No connection."
    assert outcome.duration_s < HASTY_S + SLACK_S


@pytest.mark.parametrize(
    "answer",
    [
        drip(b"HTTP/1.1 200 OK\r\n"),
        drip(b"x"),
        drip(b"HTTP/1.1 100 Continue\r\n\r\n", every_s=0.01),
        endless(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"),
        endless(b"HTTP/1.1 200 OK\r\na: ", b"x" * 1_000),
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        endless(b"", b"x" * 10_000),
        wait(8),
        send_raw(b""),
        send_raw(b"SMTP ready\r\n"),
        send_raw(b"HTTP/1.1 abc OK\r\n\r\n"),
        send_raw(b"\xff\xfe\x00\r\n\r\n"),
    ],
)
def test_without_a_whole_head_nothing_was_taken_however_it_is_kept_back(
    hasty_client, receive, answer
):
    outcome = _post(hasty_client, receive(answer).url)

    assert outcome.problem in ("No usable answer.", f"No answer within {HASTY_S:g} s.")
    assert outcome.http_status is None
    assert outcome.duration_s < HASTY_S + SLACK_S


@pytest.mark.parametrize(
    "answer",
    [
        endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 10_000),
        endless(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n", b"x" * 10_000),
        endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 99),
        send_raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"),
        send_raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense"),
        send_raw(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nnonsense"),
    ],
)
def test_once_the_head_says_taken_no_body_changes_that(hasty_client, receive, answer):
    outcome = _post(hasty_client, receive(answer).url)

    assert (outcome.problem, outcome.http_status) == (None, 200)
    assert outcome.duration_s < HASTY_S + SLACK_S


def test_a_body_without_end_is_read_to_64_kilobytes(webhook_client, receive):
    sent = []

    def pour(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        try:
            while True:
                sent.append(connection.send(b"x" * 1_000))
        except OSError:
            done.set()

    done = threading.Event()
    receiver = receive(pour)

    outcome = _post(webhook_client, receiver.url)

    assert outcome.problem is None
    assert done.wait(60)
    # What the kernels hold in between is not read by us.
    assert MAX_ANSWER_BYTES <= sum(sent) < 8_000_000


def test_a_body_that_drips_is_left_in_time(hasty_client, receive):
    def answer(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        drip(b"x")(connection)

    outcome = _post(hasty_client, receive(answer).url)

    assert (outcome.problem, outcome.http_status) == (None, 200)
    assert HASTY_S <= outcome.duration_s < HASTY_S + SLACK_S


def test_a_receiver_that_reads_nothing_is_left_in_time(hasty_client):
    """More than the kernels hold in between, so that writing waits."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        outcome = hasty_client.post(url, b"x" * 20_000_000, HEADERS)

    assert outcome.problem == f"No answer within {HASTY_S:g} s."
    assert outcome.duration_s < HASTY_S + SLACK_S


def test_over_tls_the_certificate_must_prove_the_name(receive):
    receiver = receive(tls=make_tls())
    knowing = WebhookHttpClient(production=False, ca_file=CERTIFICATE)
    by_another_name = receiver.url.replace("127.0.0.1", "localhost")

    unknown = _post(WebhookHttpClient(production=False), receiver.url)
    known = _post(knowing, receiver.url)
    # `localhost` may stand for ::1 first, where nobody listens.
    misnamed = _post(
        WebhookHttpClient(
            production=False,
            ca_file=CERTIFICATE,
            resolve=lambda host, port, within_s: _addresses("127.0.0.1", port=port),
        ),
        by_another_name,
    )

    assert unknown.problem == misnamed.problem == "Its certificate does not prove its name."
    assert (known.problem, known.http_status) == (None, 200)
    assert len(receiver.told) == 1


def _serve_once(listener, answer):
    """Take one connection, whatever it says, and let `answer` act."""

    def serve():
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.recv(4_096)
            answer(connection)

    threading.Thread(target=serve, daemon=True).start()
    return f"https://127.0.0.1:{listener.getsockname()[1]}/"


def test_plain_http_where_tls_was_meant_is_no_answer(webhook_client):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        outcome = _post(webhook_client, _serve_once(listener, respond("400 Bad Request")))

    assert outcome.problem == "TLS failed."


def test_a_handshake_that_drips_is_left_in_time(hasty_client):
    pieces = drip(b"\x16\x03\x03\x40\x00" + b"\x02" * 16_000)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        outcome = _post(hasty_client, _serve_once(listener, pieces))

    assert outcome.problem == f"No answer within {HASTY_S:g} s."
    assert outcome.duration_s < HASTY_S + SLACK_S


def test_a_name_is_resolved_once_and_just_that_address_connected_to(receive):
    receiver = receive()
    asked = []

    def resolve(host, port, within_s):
        asked.append(host)
        return _addresses("127.0.0.1", port=port)

    url = receiver.url.replace("127.0.0.1", "no-such-name.invalid")
    outcome = _post(WebhookHttpClient(production=False, resolve=resolve), url)

    assert outcome.problem is None
    assert asked == ["no-such-name.invalid"]
    assert receiver.told[0].headers["host"].startswith("no-such-name.invalid:")


def test_a_name_that_stands_for_another_address_a_moment_later_leads_nowhere(receive):
    """DNS rebinding: it was a good address when it was registered."""
    receiver = receive(tls=make_tls())
    answers = [["8.8.8.8"], ["127.0.0.1"], ["8.8.8.8", "10.0.0.1"]]

    def resolve(host, port, within_s):
        return _addresses(*answers.pop(0), port=port)

    url = receiver.url.replace("127.0.0.1", "rebound.example")
    webhook_client = WebhookHttpClient(production=True, ca_file=CERTIFICATE, resolve=resolve)
    webhook_client.check(url)

    outcomes = [_post(webhook_client, url), _post(webhook_client, url)]

    assert [each.problem for each in outcomes] == [
        "Its name resolves to an address outside the public Internet."
    ] * 2
    assert receiver.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "https://127.0.0.1:{port}/",
        "https://localhost:{port}/",
        "https://[::1]:{port}/",
        "https://[::ffff:127.0.0.1]:{port}/",
        "https://0.0.0.0:{port}/",
        "https://169.254.169.254/latest/meta-data/",
        "https://10.0.0.1/",
    ],
)
def test_in_production_nobody_gets_at_what_only_we_reach(receive, url):
    receiver = receive(tls=make_tls())
    url = url.format(port=receiver.url.split(":")[2].split("/")[0])
    webhook_client = WebhookHttpClient(production=True, ca_file=CERTIFICATE)

    with pytest.raises(TargetRefused):
        webhook_client.check(url)
    outcome = _post(webhook_client, url)

    assert outcome.problem is not None
    assert (outcome.http_status, receiver.connections) == (None, 0)


def test_outside_of_production_private_addresses_stay_refused():
    webhook_client = WebhookHttpClient(production=False)

    for url in ("https://10.0.0.1/", "http://192.168.1.1/", "https://[::ffff:127.0.0.1]/"):
        with pytest.raises(TargetRefused):
            webhook_client.check(url)


def test_a_name_that_does_not_resolve_is_told():
    def resolve(host, port, within_s):
        raise socket.gaierror(-2, "Name or service not known")

    webhook_client = WebhookHttpClient(production=True, resolve=resolve)

    with pytest.raises(TargetRefused, match="does not resolve"):
        webhook_client.check("https://no-such-name.invalid/")
    assert (
        _post(webhook_client, "https://no-such-name.invalid/").problem
        == "Its name does not resolve."
    )


def test_no_error_of_any_kind_leaves_a_try_without_an_end():
    def resolve(host, port, within_s):
        raise RuntimeError("not foreseen")

    outcome = _post(WebhookHttpClient(production=False, resolve=resolve), "http://127.0.0.1:1025/")

    assert outcome.problem == "No usable answer."


def test_of_several_addresses_the_next_is_tried(receive):
    receiver = receive()

    def resolve(host, port, within_s):
        return _addresses("127.0.0.9", "127.0.0.1", port=port)

    outcome = _post(WebhookHttpClient(production=False, resolve=resolve), receiver.url)

    assert outcome.problem is None


def test_each_post_has_a_connection_of_its_own(webhook_client, receive):
    receiver = receive()

    for _ in range(3):
        _post(webhook_client, receiver.url)

    assert (receiver.connections, len(receiver.told)) == (3, 3)


def test_nothing_stays_open(hasty_client, receive):
    receivers = [
        receive(TAKEN),
        receive(drip(b"x")),
        receive(send_raw(b"")),
        receive(refuse("500 No")),
    ]
    nowhere = f"http://127.0.0.1:{unused_port()}/"
    before = len(os.listdir("/proc/self/fd"))

    for _ in range(2):
        for receiver in receivers:
            _post(hasty_client, receiver.url)
        _post(hasty_client, nowhere)

    # The receivers' own ends stay open until their tests are over.
    ours = len(os.listdir("/proc/self/fd")) - before - sum(each.connections for each in receivers)
    assert ours <= 0


_NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("9" * 40, 999_999_999.0),
        (format_datetime(_NOW + timedelta(minutes=2), usegmt=True), 120.0),
        (format_datetime(_NOW - timedelta(minutes=2), usegmt=True), 0.0),
        ("Sun, 01 Mar 2026 12:02:00 -0000", 120.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("1.5", None),
        ("١٢", None),
    ],
)
def test_retry_after_is_read_in_both_forms(value, seconds):
    assert read_retry_after(value, now=_NOW) == seconds


def test_a_receiver_that_asks_for_time_is_heard(webhook_client, receive):
    outcome = _post(webhook_client, receive(refuse("503 Busy", Retry_After="77")).url)

    assert outcome.retry_after_s == 77.0


def test_many_at_once_do_not_mix(receive):
    webhook_client = WebhookHttpClient(production=False)
    receivers = [receive(wait(0.05)) for _ in range(8)]
    outcomes = {}

    def post(number):
        body = b'{"id":"%d"}' % number
        outcomes[number] = webhook_client.post(receivers[number].url, body, HEADERS)

    threads = [threading.Thread(target=post, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert [outcomes[number].problem for number in range(8)] == [None] * 8
    assert [receiver.ids() for receiver in receivers] == [[str(number)] for number in range(8)]


def test_the_deadline_counts_from_the_start(receive):
    """A resolver that takes its time leaves the receiver less."""

    def resolve(host, port, within_s):
        time.sleep(0.3)
        return _addresses("127.0.0.1", port=port)

    receiver = receive(wait(8))
    late = WebhookHttpClient(production=False, resolve=resolve, within_s=HASTY_S)

    outcome = _post(late, receiver.url)

    assert outcome.problem == f"No answer within {HASTY_S:g} s."
    assert outcome.duration_s < HASTY_S + SLACK_S
