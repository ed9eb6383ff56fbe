"""GET /health: the process is alive.  GET /ready: it can send."""

import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from flask import current_app
from loguru import logger
from marshmallow import Schema, fields, validate
from sqlalchemy.exc import SQLAlchemyError

from app.auth import public
from app.db.schema import WrongDatabase
from app.http.fields import nullable
from app.http.openapi import Blueprint
from app.sinch.client import SinchClient
from app.sinch.errors import SinchError, SinchMisconfigured
from app.sms.context import Context
from app.sms.operations.heartbeat import BackgroundHealth, read_health, record_fault
from app.subscribers.suppressions.store import WrongKey, has_anonymized

# Sinch and the broker are checked at most this often; after a failure once a second.
READINESS_KEPT_S = 10.0
# A service that has just started waits for its first sweep without an error in the log.
_STARTING_S = 20.0
# The service is ready if each of these is ok.
_REQUIRED = (
    "sinch",
    "database",
    "background",
    "broker",
    "sending",
    "consistency",
    "suppression_key",
)

blueprint = Blueprint("health", __name__, description="Liveness and readiness.")


class _KeptCheck:
    """A check whose result is kept for a while; callers at the same time share one check."""

    def __init__(self, check: Callable[[], str], *, clock: Callable[[], float]) -> None:
        self._check, self._clock = check, clock
        self._lock = threading.Lock()
        self._checked_at: float | None = None
        self._result = ""

    def read(self) -> tuple[str, bool]:
        """Return the result, and True if it is of a check that was made now."""
        with self._lock:
            kept_s = READINESS_KEPT_S if self._result == "ok" else 1.0
            is_due = self._checked_at is None or self._clock() - self._checked_at >= kept_s
            if is_due:
                self._result = self._check()
                self._checked_at = self._clock()
            return self._result, is_due


class Readiness:
    """The checks of GET /ready in one process.

    `ping_broker` raises an exception if Celery's broker does not answer; None without a broker.
    """

    def __init__(
        self,
        sinch: SinchClient,
        *,
        ping_broker: Callable[[], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sinch, self.ping_broker = sinch, ping_broker
        self._clock, self._started_at = clock, clock()
        self._kept_sinch = _KeptCheck(self._call_sinch, clock=clock)
        self._kept_broker = _KeptCheck(self._call_broker, clock=clock)
        self._lock = threading.Lock()
        # The checks that fail, as the log has them.
        self._faults: set[str] = set()

    def check(
        self, ctx: Context, *, read: Callable[[Context], BackgroundHealth] = read_health
    ) -> dict[str, Any]:
        """Run all checks.  Returns the answer of GET /ready; logs faults that begin or end.

        `read` is for a caller that has read the health before.
        """
        calls = {"sinch": self._kept_sinch.read()}
        if self.ping_broker:
            calls["broker"] = self._kept_broker.read()
        database, health = check_database(ctx, read)
        facts = {"broker": "none"} | {name: state for name, (state, _) in calls.items()} | database
        if health:
            _mark_faults(ctx, calls, health)
        ready = all(facts[name] in ("ok", "none") for name in _REQUIRED)
        for name in (*_REQUIRED, "attention"):
            self._log_change(name, facts[name])
        return {"status": "ready" if ready else "not ready", **facts}

    def check_sinch(self) -> str:
        """Return `ok`, `unreachable` or `misconfigured`, at most 10 s old."""
        return self._kept_sinch.read()[0]

    def _call_sinch(self) -> str:
        try:
            self._sinch.check()
        except SinchMisconfigured:
            return "misconfigured"
        except SinchError:
            return "unreachable"
        return "ok"

    def _call_broker(self) -> str:
        try:
            if self.ping_broker:
                self.ping_broker()
        except Exception as e:
            logger.opt(exception=e).warning("the broker does not answer")
            return "unreachable"
        return "ok"

    def _log_change(self, name: str, state: object) -> None:
        """Log a fault when it begins, and its end.  A state that cannot be read is no change."""
        if state in ("unknown", None):
            return
        if state == "stale" and self._clock() - self._started_at < _STARTING_S:
            return
        with self._lock:
            failed, fails = name in self._faults, state not in ("ok", "none", 0)
            (self._faults.add if fails else self._faults.discard)(name)
        bound = logger.bind(check=name, state=state)
        if fails and not failed:
            bound.error("a check of /ready fails")
        elif failed and not fails:
            bound.info("a check of /ready passes again")


def _mark_faults(
    ctx: Context, calls: Mapping[str, tuple[str, bool]], health: BackgroundHealth
) -> None:
    """Mark since when a check fails, and its end, by the results of _KeptCheck."""
    for name, (state, is_new) in calls.items():
        fails, is_marked = state != "ok", name in health.faults_since
        # What was seen before a fault began is no end of it.
        if fails != is_marked and (fails or is_new):
            try:
                record_fault(ctx, name, fails=fails)
            except SQLAlchemyError as e:
                logger.opt(exception=e).warning("since when a check fails is not kept")


class HealthSchema(Schema):
    """Response of GET /health."""

    status = fields.String(required=True, validate=validate.Equal("ok"))
    timestamp = fields.DateTime(required=True)


def _state(*states: str, description: str | None = None) -> fields.String:
    metadata = {"description": description} if description else {}
    return fields.String(required=True, validate=validate.OneOf(states), metadata=metadata)


class ReadySchema(Schema):
    """Response of GET /ready: the result of each check."""

    status = _state("ready", "not ready")
    sinch = _state("ok", "unreachable", "misconfigured")
    database = _state("ok", "unreachable", "not ours")
    background = _state("ok", "stale", "unknown")
    broker = _state("ok", "unreachable", "none", description="none: no Celery, so no broker.")
    sending = _state(
        "ok", "stopped", "restoring", "unknown", description="stopped: the circuit breaker is open."
    )
    consistency = _state("ok", "failed", "unknown")
    suppression_key = _state(
        "ok",
        "mismatch",
        "unknown",
        description="mismatch: numbers of erased people were hashed with another key; nothing is "
        "sent until that key is set again.",
    )
    attention = fields.Integer(**nullable("Number of batches that need an operator's decision."))


@blueprint.route("/health", methods=["GET"])
@public
@blueprint.response(HTTPStatus.OK, HealthSchema)
def show_health() -> dict[str, Any]:
    """Check that the process is alive."""
    return {"status": "ok", "timestamp": datetime.now(UTC)}


@blueprint.route("/ready", methods=["GET"])
@public
@blueprint.alt_response(
    HTTPStatus.SERVICE_UNAVAILABLE, schema=ReadySchema, description="The service cannot send now."
)
@blueprint.response(HTTPStatus.OK, ReadySchema)
def show_readiness() -> tuple[dict[str, Any], HTTPStatus]:
    """Check that the service can send: Sinch, database, background, broker, consistency."""
    readiness: Readiness = current_app.extensions["readiness"]
    facts = readiness.check(current_app.extensions["clarion"])
    ready = facts["status"] == "ready"
    return facts, HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE


def check_database(
    ctx: Context, read: Callable[[Context], BackgroundHealth] = read_health
) -> tuple[dict[str, Any], BackgroundHealth | None]:
    """Return the checks that read the database, and what they read.

    Without a database each is `unknown`, and nothing is read.
    """
    checks = ("background", "sending", "consistency", "suppression_key")
    unknown = {**dict.fromkeys(checks, "unknown"), "attention": None}
    try:
        ctx.require_own_database()
        health = read(ctx)
        suppression_key = _check_key(ctx)
    except WrongDatabase:
        return {"database": "not ours", **unknown}, None
    except (SQLAlchemyError, OSError) as e:
        logger.opt(exception=e).error("the database cannot be read")
        return {"database": "unreachable", **unknown}, None
    sending = "restoring" if health.restoring else "stopped" if health.circuit_open else "ok"
    facts = {
        "database": "ok",
        "background": "ok" if health.background_alive else "stale",
        "sending": sending,
        "consistency": "failed" if health.violations else "ok",
        "suppression_key": suppression_key,
        "attention": health.attention,
    }
    return facts, health


def _check_key(ctx: Context) -> str:
    """Check that SUPPRESSION_KEY is the key that numbers of erased people were hashed with."""
    with ctx.db.read() as tx:
        try:
            has_anonymized(tx, ctx.subscriber_context)
        except WrongKey:
            return "mismatch"
    return "ok"
