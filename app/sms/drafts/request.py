"""Requests from drafts, by the schema of the API, so that both have one truth about errors."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from app.sms.request.model import BroadcastRequest
from app.sms.request.schemas import BroadcastSchema

# Hours after its start in which a broadcast is tried; the body of the API has the time instead.
END_AFTER = "end_after_h"
# The keys of a body that make its text.  With a template, `message` is what was typed before.
TEXT_KEYS = ("message", "template", "language", "parameters")


def make_request(
    known: Mapping[str, Any], numbers: str | None, *, now: datetime
) -> BroadcastRequest:
    """Return the request of a draft's body and numbers.

    Raises ValidationError and BadInput for what is missing.
    """
    others = {name: value for name, value in known.items() if name not in TEXT_KEYS}
    body = others | select_text(known)
    hours = body.pop(END_AFTER, None)
    if hours is not None:
        start = datetime.fromisoformat(body["send_at"]) if "send_at" in body else now
        body["expire_at"] = (start + timedelta(hours=hours)).isoformat()
    if numbers:
        body["recipients"] = numbers.split("\n")
        # Those of the audience that a copied broadcast had.
        body.pop("fields", None)
    request: BroadcastRequest = BroadcastSchema().load(body)
    return request


def select_text(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a draft's body that make its text: a template counts before a message."""
    unused = "message" if "template" in body else None
    return {name: body[name] for name in TEXT_KEYS if name in body and name != unused}
