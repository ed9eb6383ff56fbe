"""Every form of answer body seen from Sinch or from something standing before it."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any

from app.sandbox.clock import format_time
from app.sandbox.control.faults import Fault
from app.sandbox.control.settings import Settings

HUGE_BYTES = 10 * 1024 * 1024
_CODES = {
    400: "syntax_constraint_violation",
    401: "unauthorized",
    403: "blocked_account",
    404: "not_found",
    409: "conflict_send_at",
    415: "unsupported_media_type",
    429: "too_many_requests",
    503: "service_unavailable",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer, not yet on the wire."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def fake_answer(
    fault: Fault, *, real: Answer | None, path: str, now: float, settings: Settings
) -> Answer:
    """The answer a fault orders; what it leaves open is taken from the real one, if any."""
    if real is not None and fault.status is None and fault.shape is None:
        return Answer(real.status, real.headers + list(fault.headers.items()), real.body)
    status = fault.status or (real.status if real else 201 if fault.shape == "no_id" else 500)
    kind, body = _body(fault, status=status, real=real, path=path, now=now)
    headers = {"Content-Type": kind} if body else {}
    if status == 429 and settings.retry_after_s is not None:
        headers["Retry-After"] = _retry_after(settings, now)
    return Answer(status, list((headers | fault.headers).items()), body)


def _body(
    fault: Fault, *, status: int, real: Answer | None, path: str, now: float
) -> tuple[str, bytes]:
    code = fault.code or _CODES.get(status, "internal_error")
    text = fault.text or "ordered by a fault"
    if fault.shape == "empty":
        return "", b""
    if fault.shape == "html":
        return "text/html", f"<html><body><h1>{status}</h1>{text}</body></html>".encode()
    if fault.shape == "not_json":
        return "application/json", b'{"code": "' + code.encode()
    if fault.shape == "no_id":
        return "application/json", _without_id(real)
    if fault.shape == "huge":
        text = "x" * HUGE_BYTES
    kind = "application/problem+json" if fault.shape == "problem" else "application/json"
    return kind, _dump(_error(fault.shape, status=status, code=code, text=text, path=path, now=now))


def _error(
    shape: str | None, *, status: int, code: str, text: str, path: str, now: float
) -> dict[str, Any]:
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"
    if shape == "framework":
        return {"timestamp": format_time(now), "status": status, "error": phrase, "path": path}
    if shape == "nested":
        return {"error": {"code": status, "message": text, "status": code, "details": []}}
    if shape == "description":
        return {"code": code, "description": text}
    if shape == "problem":
        return {"type": "about:blank", "title": phrase, "detail": text}
    return {"code": code, "text": text}


def _without_id(real: Answer | None) -> bytes:
    shown = json.loads(real.body) if real and real.body else {"to": [], "canceled": False}
    shown.pop("id", None)
    return _dump(shown)


def _retry_after(settings: Settings, now: float) -> str:
    assert settings.retry_after_s is not None
    if settings.retry_after_form == "seconds":
        return f"{settings.retry_after_s:.0f}"
    return format_datetime(datetime.fromtimestamp(now + settings.retry_after_s, UTC), usegmt=True)


def _dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
