"""The cost of a request is bounded before it arises, and few expensive requests run at a time."""

import contextlib
import gc
import io
import json
from pathlib import Path

import pytest
from marshmallow import ValidationError

from app.rate_limit import CAPACITY, CapacityGate, reserve_capacity
from tests.factories import AUTH, broadcast_to

DOCUMENT = json.loads((Path(__file__).parents[1] / "docs" / "openapi.json").read_text())
LARGE = {
    "/api/broadcast",
    "/api/broadcast/quote",
    "/api/broadcast/tag/{tag}",
    "/api/subscribers/bulk",
}
ROUTES = [
    (method.upper(), path)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
    if method != "parameters"
    if "application/json" in operation.get("requestBody", {}).get("content", {})
]


def _call(client, method, path, body):
    url = "/".join("a" * 26 if part.startswith("{") else part for part in path.split("/"))
    return client.open(url, method=method, data=body, headers=AUTH, content_type="application/json")


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_route_that_needs_little_takes_a_megabyte(shared_service, method, path):
    answer = _call(
        shared_service.test_client(), method, path, b'{"nothing": "' + b"x" * 1_000_000 + b'"}'
    )

    if path in LARGE:
        assert answer.status_code == 400
    else:
        assert answer.status_code == 413
        assert answer.get_json()["max_bytes"] == 1_000_000


HOSTILE = [
    b"[" + b",".join([item] * count) + b"]"
    for item, count in ((b"[]", 90_000), (b'{"a":[]}', 45_000), (b"1", 2_200_000))
]


WRONG = (
    ["+46701234567"] * 3_000,
    [{}] * 3_000,
    {f"a name of many {number}": None for number in range(3_000)},
    {"k" * 50_000: {"k" * 50_000: []}},
    "x" * 100_000,
)


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_refusal_is_short_whatever_is_wrong(client, method, path):
    properties = _find_schema(path, method)["properties"]
    for wrong in (*WRONG, {"any": WRONG[0], "where": WRONG[1]}, [{"tags": WRONG[0]}] * 50):
        body = json.dumps(dict.fromkeys(properties, wrong)).encode()
        answer = _call(client, method, path, body)

        assert answer.status_code in (400, 404, 413)
        assert len(answer.data) < 50_000


def _find_schema(path, method):
    body = DOCUMENT["paths"][path][method.lower()]["requestBody"]
    schema = body["content"]["application/json"]["schema"]
    return DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_more_lists_or_items_than_a_route_can_need_are_not_built(shared_service, method, path):
    client = shared_service.test_client()
    for many in HOSTILE if path in LARGE else [HOSTILE[0], HOSTILE[2][:900_000]]:
        answer = _call(client, method, path, b'{"recipients": ' + many + b"}")

        assert answer.status_code == 400
        assert "lists and objects" in answer.get_json()["error"]
        assert "less at a time" in answer.get_json()["error"]


def test_brackets_and_commas_within_a_text_are_text(client, sandbox):
    body = broadcast_to("+46701234567", message="[{,}]" * 200)

    answer = client.post("/api/broadcast", headers=AUTH, json=body)

    assert answer.status_code == 202


@contextlib.contextmanager
def _busy(service, units):
    """Another request that holds units."""
    gate = service.extensions["gate"]
    assert gate.take(units, client="b")
    yield
    gate.give_back(units)


def _large(size=1_500_000):
    return json.dumps({"message": "x", "recipients": [], "reference": "r" * size})


def test_a_large_body_beside_others_is_asked_to_come_back(service, client):
    with _busy(service, CAPACITY):
        refused = _call(client, "POST", "/api/broadcast", _large())
        small = client.post("/api/broadcast", headers=AUTH, json=broadcast_to("+46701234567"))
    admitted = _call(client, "POST", "/api/broadcast", _large())

    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) >= 1
    assert "Repeat this request" in refused.get_json()["error"]
    assert (small.status_code, admitted.status_code) == (202, 400)


def test_a_large_body_of_unknown_length_needs_room_too(service, client):
    with _busy(service, CAPACITY):
        answer = client.post(
            "/api/broadcast",
            headers=AUTH | {"Transfer-Encoding": "chunked"},
            content_type="application/json",
            input_stream=io.BytesIO(_large().encode()),
            environ_base={"wsgi.input_terminated": True},
        )

    assert answer.status_code == 503


def test_what_a_request_reserved_is_free_when_it_has_ended(service, client):
    for _ in range(3 * CAPACITY):
        assert _call(client, "POST", "/api/broadcast", _large()).status_code == 400


def test_a_request_that_needs_more_than_there_is_runs_alone(service):
    with service.test_request_context("/"):
        reserve_capacity(10 * CAPACITY)
        assert not service.extensions["gate"].take(1, client="b")

    with _busy(service, CAPACITY):
        pass


def test_a_request_keeps_the_most_that_it_reserved(service):
    with service.test_request_context("/"):
        for units in (1, 2, 1, 2):
            reserve_capacity(units)
        with _busy(service, CAPACITY - 2):
            assert not service.extensions["gate"].take(1, client="b")


def test_outside_of_a_request_nothing_is_reserved():
    reserve_capacity()


def test_a_client_that_was_refused_goes_before_the_one_that_was_served():
    gate = CapacityGate(2)
    assert gate.take(1, client="a")
    assert gate.take(1, client="a")
    assert not gate.take(1, client="b")
    gate.give_back(1)

    assert not gate.take(1, client="a")
    assert gate.take(1, client="b")


def test_the_turn_of_a_client_costs_nothing_where_there_is_room_for_both():
    gate = CapacityGate(4)
    assert gate.take(4, client="a")
    assert not gate.take(1, client="b")
    gate.give_back(3)

    assert gate.take(1, client="a")
    assert gate.take(1, client="b")


def test_a_refused_body_leaves_memory_at_once(client):
    gc.collect()
    gc.disable()
    try:
        answer = client.post("/api/broadcast", headers=AUTH, json={"parameters": {"a": {"b": 1}}})
        kept = [found for found in gc.get_objects() if isinstance(found, ValidationError)]
    finally:
        gc.enable()

    assert answer.status_code == 400
    assert kept == []
