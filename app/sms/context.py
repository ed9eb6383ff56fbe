"""Context of broadcasts: database, Sinch client, clock and rules of one process."""

import os
import random
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from app.clock import Clock
from app.config import Config, SendingRules, SubscriberRules
from app.db.engine import Database
from app.db.schema import verify_database
from app.db.viewer import NO_WALL, Viewer
from app.failpoints import failpoints
from app.sinch.client import OnCalled, SinchClient
from app.sinch.schemas import ReportMode
from app.subscribers.context import SubscriberContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Database, Sinch client, clock and rules of one process.

    `worker` names this process in the table of attempts.  `callback_url` is where Sinch sends
    callbacks; None if reports are fetched instead.  `viewer` is the client that a request acts for.
    `allowed_senders` are by client; a client that is not there may use any sender.
    """

    db: Database
    sinch: SinchClient
    rules: SendingRules
    default_sender: str
    worker: str
    instance_id: str
    callback_url: str | None = None
    delivery_report: ReportMode = ReportMode.PER_RECIPIENT_FINAL
    subscriber_rules: SubscriberRules = field(default_factory=SubscriberRules)
    phone_hash_key: bytes = b""
    clock: Clock = field(default_factory=Clock)
    jitter: Callable[[float, float], float] = random.uniform
    viewer: Viewer = NO_WALL
    allowed_senders: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def now(self) -> datetime:
        """Return the current time, aware UTC."""
        return self.clock.now()

    @property
    def subscriber_context(self) -> SubscriberContext:
        """The context of subscribers, with this clock."""
        return SubscriberContext(
            db=self.db,
            rules=self.subscriber_rules,
            phone_hash_key=self.phone_hash_key,
            clock=self.clock,
            viewer=self.viewer,
        )

    def seconds_from_now(self, seconds: float) -> datetime:
        """Return the time that is `seconds` from now."""
        return self.clock.now() + timedelta(seconds=seconds)

    def report_mode(self, options: Mapping[str, Any]) -> ReportMode | None:
        """Return how Sinch reports on a broadcast; None if reports have to be fetched."""
        mode = ReportMode(options.get("delivery_report") or self.delivery_report)
        # Sinch rejects a batch that asks for reports without a callback URL.
        return mode if self.callback_url and mode is not ReportMode.NONE else None

    def first_report_at(self, *, called_back: bool | None = None) -> datetime:
        """Return when to fetch the report of a batch first, after Sinch accepted it.

        `called_back` is True if Sinch sends callbacks for the batch; None if that is not known.
        """
        if called_back is None:
            called_back = self.callback_url is not None
        return self.seconds_from_now(self.report_wait_s(0, called_back=called_back))

    def report_wait_s(self, fetches: int, *, called_back: bool) -> float:
        """Return the seconds until a report is fetched next, after `fetches` times.

        `called_back` is True if Sinch posts reports of the batch by itself.
        """
        waits_s = self.rules.called_back_waits_s if called_back else self.rules.report_waits_s
        return waits_s[min(fetches, len(waits_s) - 1)]

    @property
    def lease(self) -> timedelta:
        """The time that a claim lasts."""
        return timedelta(seconds=self.rules.lease_s)

    def require_own_database(self) -> None:
        """Check once that the database is migrated and ours.  Raises WrongDatabase."""
        if not self.db.verified:
            verify_database(self.db, instance_id=self.instance_id)
            self.db.verified = True


def make_context(config: Config, *, on_called: OnCalled | None = None) -> Context:
    """Build the context from the settings.  Opens no connection.

    `on_called` is called after each call to Sinch.
    """
    sinch = SinchClient(
        url=config.sinch.url,
        service_plan_id=config.sinch.service_plan_id,
        api_token=config.sinch.api_token,
        connect_timeout_s=config.sinch.connect_timeout_s,
        read_timeout_s=config.sinch.read_timeout_s,
        pool_size=config.web_threads + config.sender_threads,
        on_written=lambda: failpoints.reach("C4"),
        on_called=on_called,
    )
    db = Database(config.database_url, pool_size=config.web_threads + config.sender_threads)
    return Context(
        db=db,
        sinch=sinch,
        rules=config.rules,
        default_sender=config.sinch.sender,
        allowed_senders=config.allowed_senders,
        worker=make_worker_name(),
        instance_id=config.instance_id,
        callback_url=config.callback_url,
        delivery_report=config.delivery_report,
        subscriber_rules=config.subscriber_rules,
        phone_hash_key=config.phone_hash_key,
    )


def make_worker_name() -> str:
    """Return a name of this process: host, process id and a random suffix."""
    return f"{socket.gethostname()[:32]}-{os.getpid()}-{secrets.token_hex(4)}"
