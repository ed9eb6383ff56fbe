"""Bodies that end before their Content-Length, sent to gunicorn over real sockets."""

import contextlib
import json
import socket

import pytest
import requests

from tests.factories import AUTH, broadcast_to
from tests.processes import running
from tests.signing import sign

ANN, BO = "+46701234567", "+46707654321"
# A number that Bo's becomes where the body is cut.
CUT = BO[:-4]
SECRET = "a secret that Sinch shares with the tests"
JSON, CSV, NDJSON = "application/json", "text/csv", "application/x-ndjson"
IMPORTS = "/api/subscribers/imports"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    output = tmp_path_factory.mktemp("bodies") / "output"
    with running(output, SINCH_WEBHOOK_SECRET=SECRET) as service:
        yield service


def send_cut(service, path, body, content_type=JSON, *, method="POST", more=1_000, headers=AUTH):
    """Send a body whose Content-Length promises more, and no more bytes.  Returns the answer."""
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    head += f"Content-Type: {content_type}\r\nContent-Length: {len(body) + more}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    address = ("127.0.0.1", int(service.url.rpartition(":")[2]))
    with socket.create_connection(address, 20) as raw:
        raw.sendall(head.encode() + b"\r\n" + body)
        raw.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: raw.recv(65_536), b""))
    head, _, content = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(content)


def show(service, path):
    return service.get(path).json()


def is_suppressed(service, phone):
    url = f"{service.url}/api/suppressions/lookup"
    answer = requests.post(url, headers=AUTH, json={"phone": phone}, timeout=30)
    return answer.json()["suppressed"]


def make_import(service, **options):
    url = service.url + IMPORTS
    return requests.post(url, headers=AUTH, json=options, timeout=30).json()["url"]


def put_whole(service, url, file):
    headers = AUTH | {"Content-Type": CSV}
    return requests.put(f"{service.url}{url}/file", data=file, headers=headers, timeout=30)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/broadcast", broadcast_to(ANN)),
        ("/api/broadcast/quote", broadcast_to(ANN)),
        ("/api/subscribers", {"phone": ANN}),
        ("/api/subscribers/bulk", {"subscribers": [{"phone": ANN}]}),
        ("/api/suppressions", {"phones": [ANN, CUT]}),
        ("/api/tags", {"name": "cut"}),
        (IMPORTS, {"tags": ["cut"]}),
        ("/api/webhooks", {"url": "https://example.com/hook", "event_types": ["test"]}),
    ],
)
@pytest.mark.parametrize("more", [1, 1_000])
def test_json_that_is_cut_is_refused_and_nothing_is_stored(service, path, body, more):
    status, answer = send_cut(service, path, json.dumps(body).encode(), more=more)

    assert (status, "Content-Length" in answer["error"]) == (400, True)
    assert show(service, "/api/broadcasts")["broadcasts"] == []
    assert show(service, "/api/subscribers")["subscribers"] == []
    assert show(service, "/api/suppressions")["suppressions"] == []
    assert show(service, "/api/tags")["tags"] == []
    assert show(service, "/api/webhooks")["webhooks"] == []


@pytest.mark.parametrize("mode", ["skip_bad", "all_or_nothing"])
def test_a_file_of_subscribers_that_is_cut_is_not_imported_and_may_be_sent_again(service, mode):
    url = make_import(service, mode=mode)

    for file in (b"", f"phone\n{ANN}\n{CUT}".encode()):
        status, answer = send_cut(service, f"{url}/file", file, CSV, method="PUT")

        assert (status, "Content-Length" in answer["error"]) == (400, True)
        assert [show(service, url)[name] for name in ("status", "bytes", "lines")] == [
            "waiting", 0, 0,
        ]  # fmt: skip
    assert put_whole(service, url, b"phone\n").status_code == 202


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (CSV, f"phone\n{ANN}\n{CUT}"),
        (CSV, f"{ANN}\n" * 3_000 + CUT),
        (NDJSON, f'"{ANN}"\n"{CUT}"'),
        (NDJSON, f'"{ANN}"\n"{CUT}'),
    ],
)
def test_a_list_of_opt_outs_that_is_cut_suppresses_no_number_of_it(service, content_type, body):
    status, _ = send_cut(service, "/api/suppressions/import", body.encode(), content_type)

    assert status == 400
    assert not is_suppressed(service, ANN)
    assert not is_suppressed(service, CUT)


def test_a_list_of_opt_outs_whose_client_is_gone_suppresses_no_number_of_it(service):
    head = "POST /api/suppressions/import HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
    head += f"X-API-Key: {AUTH['X-API-Key']}\r\nContent-Length: 10000\r\n\r\nphone\n{ANN}\n{CUT}"
    address = ("127.0.0.1", int(service.url.rpartition(":")[2]))
    with socket.create_connection(address, 20) as raw:
        raw.sendall(head.encode())
    with contextlib.suppress(requests.ConnectionError):
        service.get("/health")

    assert show(service, "/api/suppressions")["suppressions"] == []


def test_a_callback_that_is_cut_is_refused_whatever_signature_it_bears(service):
    text = {"type": "mo_text", "id": "01CUT", "from": ANN[1:], "to": "12015550199", "body": "STOP"}
    body = json.dumps(text | {"received_at": "2026-03-01T08:30:00Z"}).encode()

    status, answer = send_cut(service, "/webhooks/sinch", body, headers=sign(body, secret=SECRET))

    assert (status, "Content-Length" in answer["error"]) == (400, True)
    assert not is_suppressed(service, ANN)


@pytest.mark.parametrize(
    ("path", "content_type", "status", "kept"),
    [
        ("/api/broadcast", "text/plain", 415, False),
        ("/api/nowhere", JSON, 404, False),
        ("/api/tags", JSON, 413, False),
        ("/api/suppressions/import", CSV, 400, False),
        ("/api/broadcast", JSON, 400, True),
    ],
)
def test_an_answer_before_the_end_of_a_body_says_that_its_connection_ends(
    service, path, content_type, status, kept
):
    # One line of a file is too long after its first part.
    body = b"phone\n" + b"," * 5_000_000
    headers = AUTH | {"Content-Type": content_type}
    with requests.Session() as session:
        answer = session.post(service.url + path, data=body, headers=headers, timeout=30)

        assert (answer.status_code, answer.headers["Connection"] == "keep-alive") == (status, kept)
        # A client that did not know would lose its next request, and not know what became of it.
        again = session.post(f"{service.url}/api/tags", json={}, headers=AUTH, timeout=30)
        assert again.status_code == 400
