"""A client of our API as tests call it: its key with every call, every answer as it came."""

from collections.abc import Mapping
from typing import Any

from flask import Flask, g

from app.auth import Client
from tests.factories import KEY, broadcast_to

OTHER_KEY = "test-key-2b9d4e7f1c8a5063d1e2f3a4"
TWO_CLIENTS = f"tests:{KEY},other:{OTHER_KEY}"
# The same without the wall between them.
TWO_UNWALLED = f"tests[* clients:all]:{KEY},other[* clients:all]:{OTHER_KEY}"
# For tests in which Sinch is well: a busy machine is not to look like a slow Sinch.
PATIENT = {
    "SINCH_CONNECT_TIMEOUT_S": "3",
    "SINCH_READ_TIMEOUT_S": "10",
    "SEND_BUDGET_S": "20",
}


class Caller:
    """Calls a service under one API key."""

    def __init__(self, service: Flask, key: str = KEY) -> None:
        self._http = service.test_client()
        self._headers = {"X-API-Key": key}

    def send(self, *recipients: Any, idempotency_key: str | None = None, **more: Any) -> Any:
        """POST /api/broadcast."""
        headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
        return self.post("/api/broadcast", broadcast_to(*recipients, **more), **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self._http.post(path, json=body, headers=self._headers | headers)

    def get(self, path: str, **query: Any) -> Any:
        return self._http.get(path, query_string=query, headers=self._headers)

    def patch(self, path: str, body: Any) -> Any:
        return self._http.patch(path, json=body, headers=self._headers)

    def put(self, path: str, body: Any) -> Any:
        return self._http.put(path, json=body, headers=self._headers)

    def delete(self, path: str) -> Any:
        return self._http.delete(path, headers=self._headers)

    def show(self, broadcast: Any) -> Any:
        """A broadcast as it stands now; `broadcast` is its id or the answer that made it."""
        return self.get(f"/api/broadcasts/{id_of(broadcast)}").get_json()

    def act(self, what: str, broadcast: Any) -> Any:
        """Pause, resume or cancel one."""
        return self.post(f"/api/broadcasts/{id_of(broadcast)}/{what}")

    def ids(self, **query: Any) -> list[str]:
        """The ids of a page of broadcasts."""
        page = self.get("/api/broadcasts", **query).get_json()
        return [each["broadcast_id"] for each in page["broadcasts"]]


def count_taken(counts: Mapping[str, int]) -> int:
    """How many recipients Sinch was handed and did not refuse, whatever it has reported so far."""
    return counts["submitted"] + counts["delivered"] + counts["failed"] + counts["unknown"]


def id_of(broadcast: Any) -> str:
    """The id of a broadcast, or of the one an answer is about."""
    return broadcast if isinstance(broadcast, str) else str(broadcast.get_json()["broadcast_id"])


def limit_scopes(service: Flask, *scopes: str) -> None:
    """From now on every key of this service may do no more than this; before its first request."""

    def limit() -> None:
        if g.client is not None:
            g.client = Client(g.client.name, frozenset(scopes))

    service.before_request(limit)
