"""Requests from drafts, by the schema of the API, so that both have one truth about errors."""

from typing import Any

from sqlalchemy import Row

from app.sms.request.model import BroadcastRequest
from app.sms.request.schemas import BroadcastSchema


def make_request(draft: Row[Any]) -> BroadcastRequest:
    """Return the request of a draft.  Raises ValidationError and BadInput for what is missing."""
    body: dict[str, Any] = dict(draft.body)
    if draft.numbers:
        body["recipients"] = draft.numbers.split("\n")
    request: BroadcastRequest = BroadcastSchema().load(body)
    return request
