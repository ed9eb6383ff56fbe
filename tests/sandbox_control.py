"""A tester's hand on a running sandbox: what a person, a carrier or a bad line would do."""

from typing import Any, cast

import requests
from flask import Flask

Json = dict[str, Any]


class SandboxControl:
    """The control URLs of the sandbox at ``url`` as Python.  AssertionError on any refusal.

    One of this process, with its ``app``, is told without its socket: it takes a fifth of the time.
    """

    def __init__(self, url: str, app: Flask | None = None) -> None:
        self.url, self._app = url.rstrip("/"), app

    def text_from(self, number: str, body: str, **more: object) -> Json:
        """A person texts the plan's number."""
        return self._call("POST", "inbounds", {"from": number, "body": body, **more})

    def recipients(self) -> list[str]:
        """Every copy accepted, as +E.164, in order."""
        return cast(list[str], self._call("GET", "ledger?copies=1")["copies"])

    def batches(self) -> list[Json]:
        """Every accepted batch: id, client_reference, recipients (how many), canceled."""
        return cast(list[Json], self._call("GET", "ledger")["batches"])

    def batches_of(self, number: str) -> list[str]:
        """The ids of the batches that hold a number."""
        digits = number.lstrip("+")
        return cast(list[str], self._call("GET", f"ledger?recipient={digits}")["batches"])

    def ledger_summary(self) -> Json:
        """Counts of batches, messages and recipients, and who was accepted more than once."""
        return self._call("GET", "ledger?summary=1")

    def requests(self) -> list[Json]:
        """Every request on Sinch's URLs, those that met a fault included."""
        return cast(list[Json], self._call("GET", "requests")["requests"])

    def posts(self) -> int:
        """How many times a batch was posted, whatever came of it."""
        return sum(request["operation"] == "POST /batches" for request in self.requests())

    def callbacks(self) -> list[Json]:
        """Every try to post a callback."""
        return cast(list[Json], self._call("GET", "callbacks")["callbacks"])

    def order_fault(self, **fault: object) -> Json:
        return self._call("POST", "faults", fault)

    def faults(self) -> list[Json]:
        """The faults ordered, with their hits."""
        return cast(list[Json], self._call("GET", "faults")["faults"])

    def clear_faults(self) -> None:
        self._call("DELETE", "faults")

    def set(self, **settings: object) -> Json:
        """Move switches; all settings afterwards."""
        return self._call("PATCH", "settings", settings)

    def advance(self, seconds: float) -> None:
        """Move the sandbox's clock forward."""
        self._call("POST", "clock", {"advance_s": seconds})

    def refuse(self, for_s: float) -> None:
        """Have connections refused, from now, for a while."""
        self._call("POST", "refuse", {"for_s": for_s})

    def reset(self) -> None:
        self._call("POST", "reset", {})

    def report(self, batch_id: str) -> Json:
        """The counts of a batch by status and code, as Sinch's API gives them."""
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(
                f"{self.url}/xms/v1/sandbox/batches/{batch_id}/delivery_report",
                headers={"Authorization": "Bearer sandbox"},
                timeout=60,
            )
        assert answer.ok, answer.text
        return cast(Json, answer.json())

    def _call(self, method: str, path: str, body: Json | None = None) -> Json:
        if self._app:
            told = self._app.test_client().open(f"/control/{path}", method=method, json=body)
            assert told.status_code < 400, f"{method} {path}: {told.status} {told.text}"
            return cast(Json, told.get_json()) if told.data else {}
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(method, f"{self.url}/control/{path}", json=body, timeout=60)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return cast(Json, answer.json()) if answer.content else {}
