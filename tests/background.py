"""What the background of a service does, done by the test itself: here and now."""

import time
from collections.abc import Callable
from typing import Any

from flask import Flask

from app.sms.context import Context
from app.sms.dispatch.burst import submit_next
from app.worker.jobs import plan_next, sweep
from tests.factories import AUTH


def context_of(service: Flask) -> Context:
    """What the state machine of a service stands on."""
    ctx: Context = service.extensions["clarion"]
    return ctx


def plan_all(service: Flask) -> None:
    """Cut every audience that waits for it."""
    while plan_next(context_of(service)):
        pass


def work_off(service: Flask) -> None:
    """Plan and submit all that may go now."""
    ctx = context_of(service)
    while plan_next(ctx) or submit_next(ctx) is True:
        pass


def work_until(service: Flask, done: Callable[[], object], *, within_s: float = 20.0) -> None:
    """Sweep, plan and submit, again and again, until something is so."""
    deadline = time.monotonic() + within_s
    while True:
        sweep(context_of(service))
        work_off(service)
        if done():
            return
        assert time.monotonic() < deadline, f"not so within {within_s} s"
        time.sleep(0.02)


def look_at(service: Flask, answer: Any) -> Any:
    """The broadcast of an answer, as the API shows it now."""
    return service.test_client().get(answer.get_json()["url"], headers=AUTH).get_json()


def messages_of(service: Flask, answer: Any) -> list[Any]:
    """Its recipients and where each stands, in the order they are sent to."""
    found: list[Any] = []
    query: dict[str, Any] = {"limit": 1000}
    while True:
        url = f"{answer.get_json()['url']}/messages"
        page = service.test_client().get(url, headers=AUTH, query_string=query).get_json()
        found += page["messages"]
        if page["cursor"] is None:
            return found
        query["cursor"] = page["cursor"]
