"""Faults as a client meets them, down to the socket."""

import json
import socket
import time
from urllib.parse import urlsplit

import pytest
import requests

from tests.sandbox.conftest import wait_until

SEND = json.dumps({"to": ["46700000001"], "from": "46700000900", "body": "hi"}).encode()


def raw_answer(sinch):
    """Post a batch on a bare socket: the bytes that came back, and how it ended."""
    where = urlsplit(sinch.root)
    head = (
        f"POST {where.path}/batches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sandbox\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(SEND)}\r\n\r\n"
    )
    received = b""
    with socket.create_connection((where.hostname, where.port), timeout=60) as connection:
        connection.sendall(head.encode() + SEND)
        try:
            while chunk := connection.recv(65536):
                received += chunk
        except ConnectionResetError:
            return received, "reset"
        except TimeoutError:
            return received, "open"
    return received, "closed"


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("do", "end"), [("cut", "closed"), ("reset", "reset"), ("hang", "closed")])
def test_an_answer_can_be_lost_with_the_batch_accepted_or_not(sinch, control, do, end, when):
    control.order_fault(on="POST /batches", do=do, when=when, delay_s=0.05)

    assert raw_answer(sinch) == (b"", end)

    assert len(control.recipients()) == (1 if when == "after" else 0)
    assert control.posts() == 1


def test_a_hanging_request_is_held_for_its_time(sinch, control):
    control.order_fault(do="hang", delay_s=0.3)
    began = time.monotonic()

    raw_answer(sinch)

    assert time.monotonic() - began >= 0.3


def test_half_a_body_comes_with_the_length_of_the_whole(sinch, control):
    control.order_fault(on="POST /batches", do="half_body")

    received, end = raw_answer(sinch)

    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    assert (head.split()[1], end) == (b"201", "closed")
    assert len(body) == length // 2
    assert len(control.recipients()) == 1


def test_a_dripping_body_is_whole_in_the_end(sinch, control):
    control.order_fault(on="POST /batches", do="drip", byte_delay_s=0.001)
    began = time.monotonic()

    assert sinch.send()["to"] == ["46700000001"]
    assert time.monotonic() - began > 0.2


def test_a_delay_comes_before_the_answer(sinch, control):
    control.order_fault(on="GET /batches", status=503, delay_s=0.2)
    began = time.monotonic()

    assert sinch.ask("GET", "/batches").status_code == 503
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize(("shape", "keys"), [
    ("sinch", {"code", "text"}),
    ("framework", {"status", "error", "path"}),
    ("nested", {"error"}),
    ("problem", {"type", "title"}),
])  # fmt: skip
def test_every_shape_of_error_body_can_be_had(sinch, control, shape, keys):
    control.order_fault(status=400, shape=shape, code="c", text="t")

    answer = sinch.post_batch()

    assert answer.status_code == 400
    assert answer.json().keys() == keys
    assert answer.headers["Content-Type"].startswith("application/")


def test_bodies_that_are_no_use_can_be_had(sinch, control):
    for shape in ("html", "empty", "not_json", "no_id", "huge"):
        control.order_fault(on="POST /batches", shape=shape, status=201)

    html, empty, not_json, no_id, huge = (sinch.post_batch() for _ in range(5))

    assert html.headers["Content-Type"] == "text/html"
    assert html.text.startswith("<html>")
    assert empty.content == b""
    with pytest.raises(requests.JSONDecodeError):
        not_json.json()
    assert "id" not in no_id.json()
    assert len(huge.content) > 10_000_000
    assert len(huge.json()["text"]) > 10_000_000


def test_an_accepted_batch_can_be_answered_without_its_id(sinch, control):
    control.order_fault(on="POST /batches", when="after", shape="no_id")

    answer = sinch.post_batch(client_reference="r")

    assert (answer.status_code, answer.json()["client_reference"]) == (201, "r")
    assert "id" not in answer.json()
    assert len(control.batches()) == 1


def test_headers_can_be_ordered_and_a_429_can_say_when_to_come_back(sinch, control):
    control.order_fault(status=307, headers={"Location": "/elsewhere"})
    control.order_fault(status=429, headers={"Retry-After": "3"})
    control.order_fault(status=429)

    moved = sinch.ask("GET", "/batches", allow_redirects=False)
    timed, untimed = sinch.ask("GET", "/batches"), sinch.ask("GET", "/batches")

    assert moved.headers["Location"] == "/elsewhere"
    assert timed.headers["Retry-After"] == "3"
    assert "Retry-After" not in untimed.headers


def test_faults_are_tried_in_order_and_counted(sinch, control):
    control.order_fault(on="GET /batches/{id}", status=404)
    control.order_fault(on="GET /batches", status=500, times=2)
    control.order_fault(on="*", status=503, times=None)

    seen = [sinch.ask("GET", "/batches").status_code for _ in range(4)]

    assert seen == [500, 500, 503, 503]
    assert [fault["hits"] for fault in control.faults()] == [0, 2, 2]
    control.clear_faults()
    assert sinch.ask("GET", "/batches").status_code == 200


@pytest.mark.parametrize(("on", "method", "path"), [
    ("POST /batches/dry_run", "POST", "/batches/dry_run"),
    ("GET /batches/{id}/delivery_report", "GET", "/batches/01JX/delivery_report"),
])  # fmt: skip
def test_a_fault_hits_its_operation_alone(sinch, control, on, method, path):
    control.order_fault(on=on, status=599, times=None)

    assert sinch.ask(method, path, json={}).status_code == 599
    assert sinch.post_batch().status_code == 201
    assert sinch.ask("GET", "/batches").status_code == 200


def test_a_fault_can_be_a_matter_of_luck_and_luck_can_be_repeated(sinch, control):
    def draw():
        control.clear_faults()
        control.set(seed=5)
        control.order_fault(status=500, times=None, probability=0.5)
        return [sinch.ask("GET", "/batches").status_code for _ in range(40)]

    first = draw()

    assert first == draw()
    assert 5 < first.count(500) < 35


@pytest.mark.parametrize(("field", "value"), [
    ("on", "GET /letters"), ("do", "explode"), ("when", "later"), ("shape", "round"),
    ("status", 99), ("status", "500"), ("times", 0), ("probability", 2), ("delay_s", -1),
    ("headers", {"a": "b\r\nc: d"}), ("headers", []), ("code", 1), ("statsu", 500),
])  # fmt: skip
def test_a_bad_definition_is_refused_and_the_field_named(sinch, control, field, value):
    answer = requests.post(f"{control.url}/control/faults", json={field: value}, timeout=60)

    assert answer.status_code == 400
    assert answer.json()["text"].startswith(f"{field}:")
    assert control.faults() == []


def test_the_connection_lives_on_after_an_answered_fault(sinch, control):
    control.order_fault(on="POST /batches", status=503)
    sinch.post_batch()
    pool = sinch.session.get_adapter("http://").poolmanager.connection_from_url(sinch.root)
    before = pool.num_connections

    sinch.send()

    assert pool.num_connections == before


def test_a_204_has_no_body_to_spoil_the_next_answer(sinch, sandbox_server, control):
    control.order_fault(on="GET /batches", status=204)
    where = sandbox_server.url.removeprefix("http://").split(":")
    request = (b"GET /xms/v1/sandbox/batches HTTP/1.1\r\nHost: x\r\n"
               b"Authorization: Bearer sandbox\r\n\r\n")  # fmt: skip

    with socket.create_connection((where[0], int(where[1])), timeout=60) as connection:
        connection.sendall(request)
        wait_until(lambda: any(request["status"] for request in control.requests()))
        time.sleep(0.05)
        first = connection.recv(65536)
        connection.sendall(request)
        second = connection.recv(65536)

    assert first.startswith(b"HTTP/1.1 204 ")
    assert first.endswith(b"\r\n\r\n")
    assert second.startswith(b"HTTP/1.1 200 OK")
