"""GET /health: the process answers.  GET /ready: it can send."""

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

# Whoever asks, and however often, Sinch is asked at most this often.
READINESS_KEPT_S = 10.0

blueprint = Blueprint("health", __name__, description="Whether the service is alive and can send.")


@dataclass(slots=True)
class Readiness:
    """Whether Sinch takes our calls, asked of it at most every 10 s."""

    sinch: SinchClient
    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _checked_at: float | None = None
    _verdict: str = "unreachable"

    def check_sinch(self) -> str:
        """`ok`, `unreachable` or `misconfigured`, at most 10 s old."""
        with self._lock:
            fresh = self._checked_at is not None and self.clock() - self._checked_at < (
                READINESS_KEPT_S if self._verdict == "ok" else 1.0
            )
            if not fresh:
                self._verdict = self._ask_sinch()
                self._checked_at = self.clock()
            return self._verdict

    def _ask_sinch(self) -> str:
        try:
            self.sinch.check()
        except SinchMisconfigured:
            return "misconfigured"
        except SinchError:
            return "unreachable"
        return "ok"


class HealthSchema(Schema):
    """The process answers."""

    status = fields.String(required=True, validate=validate.Equal("ok"))
    timestamp = fields.DateTime(required=True, format="iso")


class ReadySchema(Schema):
    """Whether this process can send, and what stands in the way."""

    status = fields.String(required=True, validate=validate.OneOf(["ready", "not ready"]))
    sinch = fields.String(
        required=True, validate=validate.OneOf(["ok", "unreachable", "misconfigured"])
    )
    database = fields.String(
        required=True, validate=validate.OneOf(["ok", "unreachable", "not ours"])
    )
    background = fields.String(required=True, validate=validate.OneOf(["ok", "stale", "unknown"]))
    sending = fields.String(
        required=True,
        validate=validate.OneOf(["ok", "stopped", "restoring", "unknown"]),
        metadata={"description": "stopped: Sinch refuses our configuration."},
    )
    consistency = fields.String(required=True, validate=validate.OneOf(["ok", "failed", "unknown"]))
    suppression_key = fields.String(
        required=True,
        validate=validate.OneOf(["ok", "mismatch", "unknown"]),
        metadata={
            "description": "mismatch: erased people's numbers were hashed with another key; "
            "nothing is sent until it is back."
        },
    )
    attention = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "How many batches wait for an operator's decision."},
    )


@blueprint.route("/health", methods=["GET"])
@public
@blueprint.response(HTTPStatus.OK, HealthSchema)
def show_health() -> dict[str, Any]:
    """Alive: the process answers."""
    return {"status": "ok", "timestamp": datetime.now(UTC)}


@blueprint.route("/ready", methods=["GET"])
@public
@blueprint.alt_response(
    HTTPStatus.SERVICE_UNAVAILABLE, schema=ReadySchema, description="It cannot send now."
)
@blueprint.response(HTTPStatus.OK, ReadySchema)
def show_readiness() -> tuple[dict[str, Any], HTTPStatus]:
    """Ready: the database is ours, Sinch takes our calls, somebody works in the background."""
    readiness: Readiness = current_app.extensions["readiness"]
    facts = {"sinch": readiness.check_sinch(), **check_database(current_app.extensions["clarion"])}
    wanted = ("sinch", "database", "background", "sending", "consistency", "suppression_key")
    if all(facts[name] == "ok" for name in wanted):
        return {"status": "ready", **facts}, HTTPStatus.OK
    return {"status": "not ready", **facts}, HTTPStatus.SERVICE_UNAVAILABLE


def check_database(ctx: Context) -> dict[str, Any]:
    """What the database tells of itself and of the work behind the requests."""
    unknown = {
        "background": "unknown",
        "sending": "unknown",
        "consistency": "unknown",
        "suppression_key": "unknown",
        "attention": None,
    }
    try:
        ctx.require_own_database()
        pulse = read_health(ctx)
        suppression_key = _check_key(ctx)
    except WrongDatabase:
        return {"database": "not ours", **unknown}
    except (SQLAlchemyError, OSError):
        return {"database": "unreachable", **unknown}
    sending = "restoring" if pulse.restoring else "stopped" if pulse.circuit_open else "ok"
    return {
        "database": "ok",
        "background": "ok" if pulse.background_alive else "stale",
        "sending": sending,
        "consistency": "ok" if pulse.is_consistent else "failed",
        "suppression_key": suppression_key,
        "attention": pulse.attention,
    }


def _check_key(ctx: Context) -> str:
    """Whether erased people can be told from others."""
    with ctx.db.read() as tx:
        try:
            has_anonymized(tx, ctx.subscriber_context)
        except WrongKey:
            return "mismatch"
    return "ok"
