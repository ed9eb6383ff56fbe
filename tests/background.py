"""Background work of a service, run by the test itself."""

import time
from collections.abc import Callable
from typing import Any

from flask import Flask

from app.sms.context import Context
from app.sms.dispatch.burst import submit_next
from app.worker.jobs import plan_next, sweep
from tests.factories import AUTH


def context_of(service: Flask) -> Context:
    """Return the Context of a service."""
    ctx: Context = service.extensions["clarion"]
    return ctx


def plan_all(service: Flask) -> None:
    """Plan all broadcasts that have recipients without batches."""
    while plan_next(context_of(service)):
        pass


def work_off(service: Flask) -> None:
    """Plan and submit all batches that may go now."""
    ctx = context_of(service)
    while plan_next(ctx) or submit_next(ctx) is True:
        pass


def work_until(service: Flask, done: Callable[[], object], *, within_s: float = 60.0) -> None:
    """Sweep, plan and submit until `done` returns True."""
    deadline = time.monotonic() + within_s
    while True:
        sweep(context_of(service))
        work_off(service)
        if done():
            return
        assert time.monotonic() < deadline, f"not done within {within_s} s"
        time.sleep(0.02)


def look_at(service: Flask, answer: Any) -> Any:
    """Read the broadcast of an answer from the API."""
    return service.test_client().get(answer.get_json()["url"], headers=AUTH).get_json()


def messages_of(service: Flask, answer: Any) -> list[Any]:
    """Read the messages of an answer's broadcast from the API, in sending order."""
    messages: list[Any] = []
    query: dict[str, Any] = {"limit": 1000}
    while True:
        url = f"{answer.get_json()['url']}/messages"
        page = service.test_client().get(url, headers=AUTH, query_string=query).get_json()
        messages += page["messages"]
        if page["cursor"] is None:
            return messages
        query["cursor"] = page["cursor"]
