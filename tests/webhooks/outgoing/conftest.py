"""Telling clients in a test's hand: one step at a time, under a clock of the test's own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Row, select, update

from app.sms.context import Context
from app.sms.lifecycle.outbox import LISTENABLE, EventType, enqueue_event
from app.sms.models.reports import OutboxEvent
from app.webhooks.outgoing.deliver import deliver_next
from app.webhooks.outgoing.endpoints import create_endpoint
from app.webhooks.outgoing.fan_out import fan_out_events
from app.webhooks.outgoing.http_client import WebhookHttpClient
from app.webhooks.outgoing.lease import Pool
from app.webhooks.outgoing.models import Delivery, Endpoint
from tests.clocks import ManualClock
from tests.machine import Machine
from tests.webhooks.outgoing.receivers import Receiver


@dataclass
class Desk:
    """Where clients are told from: a context, its clock, who posts, and what the database has."""

    ctx: Context
    clock: ManualClock
    webhook_client: WebhookHttpClient

    def listen(
        self, url: str, *, client: str = "tests", event_types: Any = LISTENABLE, **values: Any
    ) -> Row[Any]:
        """An endpoint; with `quick=3` one of the fast lane."""
        made = create_endpoint(
            self.ctx,
            self.webhook_client,
            client=client,
            url=url,
            event_types=event_types,
            sees_numbers=True,
        )
        if values:
            self.alter(made, **values)
        return made

    def note(
        self,
        count: int = 1,
        *,
        client: str | None = "tests",
        event_type: EventType = EventType.BROADCAST_COMPLETED,
        **facts: Any,
    ) -> None:
        """Events that clients are to be told of."""
        with self.ctx.db.write() as tx:
            for number in range(count):
                told = {"number": number, **facts}
                enqueue_event(tx, self.ctx, client=client, event_type=event_type, facts=told)

    def tell(self, count: int = 1, **more: Any) -> None:
        """Events, spread."""
        self.note(count, **more)
        self.fanned_out()

    def fanned_out(self) -> int:
        return fan_out_events(self.ctx)

    def serve(self, lane: Pool | None = None) -> bool:
        """One turn of a lane, or of either."""
        lanes = [lane] if lane else list(Pool)
        return any(deliver_next(self.ctx, self.webhook_client, each) for each in lanes)

    def serve_all(self) -> int:
        """Turns until nobody has one; how many."""
        turns = 0
        while self.serve():
            turns += 1
            assert turns < 1_000
        return turns

    def endpoint(self, which: Row[Any]) -> Row[Any]:
        with self.ctx.db.read() as tx:
            query = select(Endpoint.__table__).where(Endpoint.id == which.id)
            return tx.execute(query).one()

    def alter(self, which: Row[Any], **values: Any) -> None:
        with self.ctx.db.write() as tx:
            tx.execute(update(Endpoint).where(Endpoint.id == which.id).values(**values))

    def deliveries(self, which: Row[Any] | None = None) -> list[Row[Any]]:
        query = select(Delivery.__table__).order_by(Delivery.endpoint_id, Delivery.event_id)
        if which is not None:
            query = query.where(Delivery.endpoint_id == which.id)
        with self.ctx.db.read() as tx:
            return list(tx.execute(query))

    def delivery(self) -> Row[Any]:
        """The only one there is."""
        (found,) = self.deliveries()
        return found

    def outbox(self) -> list[Row[Any]]:
        with self.ctx.db.read() as tx:
            return list(tx.execute(select(OutboxEvent.__table__).order_by(OutboxEvent.id)))


@pytest.fixture
def make_desk(make_service: Callable[..., Flask]) -> Callable[..., Desk]:
    """A function that makes a desk over a database."""

    def make(database_url: str, **webhook_client: Any) -> Desk:
        service = make_service(DATABASE_URL=database_url)
        machine = Machine.over(service.extensions["clarion"])
        return Desk(
            machine.ctx, machine.clock, WebhookHttpClient(production=False, **webhook_client)
        )

    return make


@pytest.fixture
def desk(make_desk: Callable[..., Desk], database_url: str) -> Desk:
    """A desk over SQLite."""
    return make_desk(database_url)


@pytest.fixture
def either_desk(make_desk: Callable[..., Desk], either_database: str) -> Desk:
    """The same on either database; the test runs on both."""
    return make_desk(either_database)


@pytest.fixture
def receive() -> Iterator[Callable[..., Receiver]]:
    """A function that starts a receiver, which is stopped afterwards."""
    with ExitStack() as stack:

        def start(*args: Any, **options: Any) -> Receiver:
            return stack.enter_context(Receiver(*args, **options).running())

        yield start
