"""What the state machine stands on; everything it reads or calls comes from here."""

import os
import random
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.clock import Clock
from app.config import Config, SendingRules
from app.db.engine import Database
from app.db.schema import verify_database
from app.failpoints import failpoints
from app.sinch.client import SinchClient
from app.sinch.schemas import ReportMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Database, Sinch, clock and rules of one process.

    `worker` names this process in the ledger of attempts; `draw` gives the jitter; `callback_url`
    is where Sinch reports to, None where it is asked instead.
    """

    db: Database
    sinch: SinchClient
    rules: SendingRules
    default_sender: str
    worker: str
    instance_id: str
    callback_url: str | None = None
    delivery_report: ReportMode = ReportMode.PER_RECIPIENT_FINAL
    clock: Clock = field(default_factory=Clock)
    draw: Callable[[float, float], float] = random.uniform

    def now(self) -> datetime:
        """The time of day, aware UTC."""
        return self.clock.now()

    def later(self, seconds: float) -> datetime:
        """So many seconds from now."""
        return self.clock.now() + timedelta(seconds=seconds)

    def require_own_database(self) -> None:
        """Raise WrongDatabase unless the database is migrated and ours; asked once."""
        if not self.db.verified:
            verify_database(self.db, instance_id=self.instance_id)
            self.db.verified = True


def make_context(config: Config) -> Context:
    """The surroundings that the settings describe; opens nothing yet."""
    sinch = SinchClient(
        url=config.sinch.url,
        service_plan_id=config.sinch.service_plan_id,
        api_token=config.sinch.api_token,
        connect_timeout_s=config.sinch.connect_timeout_s,
        read_timeout_s=config.sinch.read_timeout_s,
        pool_size=config.web_threads + config.sender_threads,
        on_written=lambda: failpoints.reach("C4"),
    )
    return Context(
        db=Database(config.database_url, pool_size=config.web_threads + config.sender_threads),
        sinch=sinch,
        rules=config.rules,
        default_sender=config.sinch.sender,
        worker=make_worker_name(),
        instance_id=config.instance_id,
        callback_url=config.callback_url,
        delivery_report=config.delivery_report,
    )


def make_worker_name() -> str:
    """Host, process and a random end: never the same for two processes."""
    return f"{socket.gethostname()[:32]}-{os.getpid()}-{secrets.token_hex(4)}"
