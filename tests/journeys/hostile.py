"""Hostile requests: what a client with a valid key may send to occupy the service.

    python -m tests.journeys.hostile PORT KIND THREADS SECONDS BROADCAST

repeats a kind from many threads, and prints how often which status was answered.  This is a process
of its own, because a Python that is busy with the attack measures no small requests.
"""

import contextlib
import http.client
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.factories import AUTH, in_hours, many_numbers

SEND, QUOTE, BULK = "/api/broadcast", "/api/broadcast/quote", "/api/subscribers/bulk"
SUPPRESS = "/api/suppressions/import"
JSON, CSV, JSON_LINES = "application/json", "text/csv", "application/x-ndjson"
PEOPLE_ATTRIBUTES = 20
IN_MONTHS = in_hours(24 * 90)
_STRANGER = "+46709999999"


@dataclass(frozen=True)
class Kind:
    """A kind of hostile request; `make_body` gets its bytes."""

    method: str
    path: str
    make_body: Callable[[], bytes] = bytes
    content_type: str = JSON


def _get(path: str) -> Kind:
    return Kind("GET", path)


def _post(path: str, make_body: Callable[[], bytes], content_type: str = JSON) -> Kind:
    return Kind("POST", path, make_body, content_type)


def _list_of(item: bytes, size: int) -> Callable[[], bytes]:
    return lambda: b'{"message": "x", "recipients": [' + item * (size // len(item)) + b"1]}"


def _many_keys() -> bytes:
    keys = b",".join(b'"%d":""' % number for number in range(2_000_000))
    return b'{"parameters": {"a": {' + keys + b"}}}"


def _million() -> bytes:
    body = {"recipients": many_numbers(1_000_000), "message": "x", "send_at": IN_MONTHS}
    return json.dumps(body).encode()


def _personal(recipients: int, placeholders: int) -> Callable[[], bytes]:
    """A text of placeholders that all have defaults."""
    names = [f"n{place}" for place in range(min(placeholders, 100))]
    return lambda: json.dumps(
        {
            "message": "".join(f"${{{names[place % 100]}}}" for place in range(placeholders)),
            "recipients": many_numbers(recipients),
            "parameters": {name: {"default": "x"} for name in names},
        }
    ).encode()


def _own_values(**more: Any) -> Callable[[], bytes]:
    """A text whose one placeholder has a value of its own for each recipient."""
    phones = many_numbers(10_000)
    values = {"a": {phone: f"€{number}" for number, phone in enumerate(phones)}}
    body = {"recipients": phones, "message": "x${a}" * 300, "parameters": values, **more}
    return lambda: json.dumps(body).encode()


def _audience(**more: Any) -> Callable[[], bytes]:
    """An audience of as many conditions and values as are allowed."""
    values = [f"v{number}" for number in range(100)]
    where = [
        {"field": f"attributes.a{place}", "op": "in", "value": values}
        for place in range(PEOPLE_ATTRIBUTES)
    ]
    body = {"audience": {"where": where}, "message": "Hi ${a1}" + "${a2}" * 200, **more}
    return lambda: json.dumps(body).encode()


def _people(people: int, tags: int) -> Callable[[], bytes]:
    return lambda: json.dumps(
        {
            "subscribers": [
                {"phone": number, "tags": [f"t{place}-{tag}" for tag in range(tags)]}
                for place, number in enumerate(many_numbers(people))
            ]
        }
    ).encode()


def make_kinds(broadcast: str) -> dict[str, Kind]:
    """Return the kinds by name; some read this large broadcast."""
    messages = f"/api/broadcasts/{broadcast}/messages"
    stranger = json.dumps({"recipient": _STRANGER}).encode()
    return {
        # Bodies that cost much before anything is known about them
        "lists": _post(SEND, _list_of(b"[],", 39_000_000)),
        "lists in a tag": _post("/api/tags", _list_of(b"[],", 999_000)),
        "items": _post(SEND, _list_of(b'"1",', 8_000_000)),
        "items in a tag": _post("/api/tags", _list_of(b'"",', 299_000)),
        "keys": _post(SEND, _many_keys),
        "wrong numbers": _post(SEND, _list_of(b'"12345678901",', 13_900_000)),
        "one text": _post(SEND, _list_of(b'"' + b"x" * 39_000_000 + b'",', 39_000_003)),
        # Requests that may be meant
        "a million numbers": _post(SEND, _million),
        "repeated numbers": _post(
            QUOTE,
            lambda: json.dumps({"message": "x", "recipients": many_numbers(10_000) * 40}).encode(),
        ),
        "personal quotes": _post(QUOTE, _personal(20_000, 333)),
        "large personal quotes": _post(QUOTE, _personal(100_000, 333)),
        "personal texts": _post(SEND, _personal(20_000, 333)),
        "own values: quotes": _post(QUOTE, _own_values()),
        "own values: texts": _post(SEND, _own_values(allow_duplicate=True)),
        "audiences: quotes": _post(QUOTE, _audience()),
        "audiences: texts": _post(SEND, _audience(send_at=IN_MONTHS)),
        # People
        "new tags": _post(BULK, _people(8_000, 80)),
        "poison CSV": _post(SUPPRESS, lambda: b"phone,name\n" + b'x","\n' * 100_000, CSV),
        "wrong numbers in CSV": _post(SUPPRESS, lambda: b"phone\n" + b"12345\n" * 900_000, CSV),
        "wrong JSON lines": _post(SUPPRESS, lambda: b"[[[[[[]]]]]]\n" * 900_000, JSON_LINES),
        # Lists that find nothing, or much
        "search": _post("/api/messages/search", lambda: stranger),
        "messages": _get(f"{messages}?status=expired"),
        "all messages": _get(f"{messages}?limit=1000"),
        "CSV of messages": _get(f"{messages}.csv"),
        "CSV of people": _get("/api/subscribers.csv"),
        "broadcasts": _get("/api/broadcasts?reference=none&limit=200"),
        "analytics": _get("/api/analytics?group_by=country,code"),
        "inbounds": _get("/api/inbounds?limit=200"),
        "people": _get("/api/subscribers?limit=200"),
        "people by attribute": _get("/api/subscribers?attribute=a1:none&limit=200"),
    }


def attack(port: int, kind: Kind, threads: int, seconds: float) -> Counter[str]:
    """Repeat a kind of request from many threads.  Returns how often which status was answered."""
    answers, body, until_s = Counter[str](), kind.make_body(), time.monotonic() + seconds
    headers = {**AUTH, "Content-Type": kind.content_type}

    def repeat() -> None:
        while time.monotonic() < until_s:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
            try:
                with contextlib.suppress(ConnectionError):  # answered before the body was read
                    connection.request(kind.method, kind.path, body or None, headers)
                answer = connection.getresponse()
                answer.read()
                answers[str(answer.status)] += 1
            except (OSError, http.client.HTTPException):
                answers["closed"] += 1
            finally:
                connection.close()

    workers = [threading.Thread(target=repeat) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return answers


if __name__ == "__main__":
    _port, _name, _threads, _seconds, _broadcast = sys.argv[1:]
    _kind = make_kinds(_broadcast)[_name]
    sys.stdout.write(json.dumps(attack(int(_port), _kind, int(_threads), float(_seconds))))
