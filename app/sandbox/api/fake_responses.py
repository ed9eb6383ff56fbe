"""Faulty answers in the shapes seen from Sinch or from a gateway before it."""

import json
from dataclasses import dataclass

from app.sandbox.control.faults import Fault

_HUGE_BYTES = 10 * 1024 * 1024
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
class HttpResponse:
    """A whole HTTP answer before it is written to the socket."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def build_response(fault: Fault, real: HttpResponse | None) -> HttpResponse:
    """Return the answer that a fault defines; the real one supplies what the fault leaves open."""
    if real is not None and fault.status is None and fault.shape is None:
        return HttpResponse(real.status, real.headers + list(fault.headers.items()), real.body)
    status = fault.status or (real.status if real else 201 if fault.shape == "no_id" else 500)
    content_type, body = _build_body(fault, status, real)
    headers = {"Content-Type": content_type} if body else {}
    return HttpResponse(status, list((headers | fault.headers).items()), body)


def _build_body(fault: Fault, status: int, real: HttpResponse | None) -> tuple[str, bytes]:
    """Return content type and body."""
    code = fault.code or _CODES.get(status, "internal_error")
    text = "x" * _HUGE_BYTES if fault.shape == "huge" else fault.text or "ordered by a fault"
    if fault.shape == "empty":
        return "", b""
    if fault.shape == "html":
        return "text/html", f"<html><body><h1>{status}</h1>{text}</body></html>".encode()
    if fault.shape == "not_json":
        return "application/json", b'{"code": "' + code.encode()
    if fault.shape == "no_id":
        return "application/json", _dump(_drop_id(real))
    errors = {
        "framework": {"status": status, "error": text, "path": "/xms/v1"},
        "nested": {"error": {"code": status, "message": text}},
        "problem": {"type": "about:blank", "title": text},
    }
    error = errors.get(fault.shape or "", {"code": code, "text": text})
    return "application/json", _dump(error)


def _drop_id(real: HttpResponse | None) -> dict[str, object]:
    shown: dict[str, object] = (
        json.loads(real.body) if real and real.body else {"to": [], "canceled": False}
    )
    shown.pop("id", None)
    return shown


def _dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
