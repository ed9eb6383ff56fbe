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

from app.auth import public
from app.openapi import Blueprint
from app.sinch.client import SinchClient
from app.sinch.errors import SinchError, SinchMisconfigured

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
    """Ready: Sinch takes our calls."""
    readiness: Readiness = current_app.extensions["readiness"]
    verdict = readiness.check_sinch()
    if verdict == "ok":
        return {"status": "ready", "sinch": verdict}, HTTPStatus.OK
    return {"status": "not ready", "sinch": verdict}, HTTPStatus.SERVICE_UNAVAILABLE
