"""Sinch as it calls us, and what then stands in the table of events."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from app.sms.models.reports import Event
from tests.background import context_of
from tests.signing import sign

SECRET = "a secret that Sinch shares with the tests"
PATH = "/webhooks/sinch"


@dataclass
class Callbacks:
    """A service that Sinch calls."""

    service: Flask

    def post(self, raw: bytes, *, secret: str = SECRET, **headers: str) -> Any:
        """The answer to a signed callback; `headers` go beside its signature."""
        return self.post_unsigned(raw, **(sign(raw, secret=secret) | headers))

    def post_unsigned(self, raw: bytes, **headers: str) -> Any:
        return self.service.test_client().post(
            PATH, data=raw, headers=headers, content_type="application/json"
        )

    def stored(self) -> list[bytes]:
        """The events that wait, as their bytes came."""
        return read_events(self.service)


def read_events(service: Flask) -> list[bytes]:
    """The raw events in the database of a service, the oldest first."""
    with context_of(service).db.read() as tx:
        return list(tx.execute(select(Event.raw).order_by(Event.id)).scalars())


@pytest.fixture
def make_callbacks(
    make_service: Callable[..., Flask], sandbox: object
) -> Iterator[Callable[..., Callbacks]]:
    """A function that makes a service that knows Sinch's secret."""

    def make(**overrides: str) -> Callbacks:
        return Callbacks(make_service(**{"SINCH_WEBHOOK_SECRET": SECRET} | overrides))

    return make


@pytest.fixture
def callbacks(make_callbacks: Callable[..., Callbacks]) -> Callbacks:
    return make_callbacks()
