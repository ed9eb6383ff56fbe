"""GET /health: the process is alive.  GET /ready: it can send."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from flask import current_app
from marshmallow import Schema, fields, validate
from sqlalchemy.exc import SQLAlchemyError

from app.auth import public
from app.db.schema import WrongDatabase
from app.http.openapi import Blueprint
from app.sinch.client import SinchClient
from app.sinch.errors import SinchError, SinchMisconfigured
from app.sms.context import Context
from app.sms.operations.heartbeat import read_health
from app.subscribers.suppressions.hash_key import WrongKey, has_anonymized

# Sinch is checked at most this often.
READINESS_KEPT_S = 10.0

blueprint = Blueprint("health", __name__, description="Liveness and readiness.")


@dataclass(slots=True)
class Readiness:
    """Cached check whether Sinch accepts our calls."""

    sinch: SinchClient
    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _checked_at: float | None = None
    _result: str = "unreachable"

    def check_sinch(self) -> str:
        """Return `ok`, `unreachable` or `misconfigured`, at most 10 s old."""
        with self._lock:
            fresh = self._checked_at is not None and self.clock() - self._checked_at < (
                READINESS_KEPT_S if self._result == "ok" else 1.0
            )
            if not fresh:
                self._result = self._call_sinch()
                self._checked_at = self.clock()
            return self._result

    def _call_sinch(self) -> str:
        try:
            self.sinch.check()
        except SinchMisconfigured:
            return "misconfigured"
        except SinchError:
            return "unreachable"
        return "ok"


class HealthSchema(Schema):
    """Response of GET /health."""

    status = fields.String(required=True, validate=validate.Equal("ok"))
    timestamp = fields.DateTime(required=True, format="iso")


def _state(*states: str, description: str | None = None) -> fields.String:
    metadata = {"description": description} if description else {}
    return fields.String(required=True, validate=validate.OneOf(states), metadata=metadata)


class ReadySchema(Schema):
    """Response of GET /ready: the result of each check."""

    status = _state("ready", "not ready")
    sinch = _state("ok", "unreachable", "misconfigured")
    database = _state("ok", "unreachable", "not ours")
    background = _state("ok", "stale", "unknown")
    sending = _state(
        "ok",
        "stopped",
        "restoring",
        "unknown",
        description="stopped: the circuit breaker is open.",
    )
    consistency = _state("ok", "failed", "unknown")
    suppression_key = _state(
        "ok",
        "mismatch",
        "unknown",
        description="mismatch: numbers of erased people were hashed with another key; nothing is "
        "sent until that key is set again.",
    )
    attention = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "Number of batches that need an operator's decision."},
    )


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
    """Check that the service can send: Sinch, database, background workers, consistency."""
    readiness: Readiness = current_app.extensions["readiness"]
    facts = {"sinch": readiness.check_sinch(), **check_database(current_app.extensions["clarion"])}
    wanted = ("sinch", "database", "background", "sending", "consistency", "suppression_key")
    if all(facts[name] == "ok" for name in wanted):
        return {"status": "ready", **facts}, HTTPStatus.OK
    return {"status": "not ready", **facts}, HTTPStatus.SERVICE_UNAVAILABLE


def check_database(ctx: Context) -> dict[str, Any]:
    """Return the checks that read the database; each is `unknown` if it is unreachable."""
    checks = ("background", "sending", "consistency", "suppression_key")
    unknown = {**dict.fromkeys(checks, "unknown"), "attention": None}
    try:
        ctx.require_own_database()
        health = read_health(ctx)
        suppression_key = _check_key(ctx)
    except WrongDatabase:
        return {"database": "not ours", **unknown}
    except (SQLAlchemyError, OSError):
        return {"database": "unreachable", **unknown}
    sending = "restoring" if health.restoring else "stopped" if health.circuit_open else "ok"
    return {
        "database": "ok",
        "background": "ok" if health.background_alive else "stale",
        "sending": sending,
        "consistency": "ok" if health.is_consistent else "failed",
        "suppression_key": suppression_key,
        "attention": health.attention,
    }


def _check_key(ctx: Context) -> str:
    """Check that SUPPRESSION_KEY is the key that numbers of erased people were hashed with."""
    with ctx.db.read() as tx:
        try:
            has_anonymized(tx, ctx.subscriber_context)
        except WrongKey:
            return "mismatch"
    return "ok"
