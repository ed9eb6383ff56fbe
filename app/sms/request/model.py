"""A broadcast request, checked: what a client asks for, and to whom it goes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

from app.sinch.schemas import ReportMode
from app.sms.content.placeholders import DEFAULT, Parameters
from app.sms.models.states import Category
from app.subscribers.audiences.audience import Audience
from app.text.segments import TextSize

MAX_RECIPIENTS = 1_000_000


# Up to so many are handed to Sinch within their request.
MAX_INLINE_RECIPIENTS = 1_000


@dataclass(frozen=True, slots=True)
class TemplateName:
    """A stored text, in its newest version unless one is pinned."""

    name: str
    version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BroadcastRequest:
    """What a client asks for, checked: recipients in E.164, each once.

    With an `audience` there are none: whoever it means is looked up when the send starts, and
    `fields` name what of a subscriber fills a placeholder.  `parameters` maps a placeholder's name
    to `{recipient or "default": value}`; `texts` are translations by language, of which `text` is
    the one of `language`; `invalid` are the entries left out because the client allowed it; `reply`
    is what it answers of a person's own texts.
    """

    recipients: Sequence[str]
    text: str
    size: TextSize
    audience: Audience | None = None
    tag: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    language: str | None = None
    template: TemplateName | None = None
    quote: str | None = None
    quote_tolerance: int = 0
    sender: str | None = None
    parameters: Parameters = field(default_factory=dict)
    send_at: datetime | None = None
    expire_at: datetime | None = None
    delivery_report: ReportMode | None = None
    reference: str | None = None
    flash: bool = False
    max_parts: int | None = None
    category: Category = Category.TRANSACTIONAL
    priority: int | None = None
    allow_duplicate: bool = False
    duplicates_removed: int = 0
    invalid: Sequence[object] = ()
    reply: str | None = None


def choose_priority(category: Category, recipients: int) -> int:
    """1 to 9: a few transactional texts overtake many, and those overtake marketing.

    >>> [choose_priority(Category(c), n) for c, n in
    ...  (("transactional", 1), ("transactional", 5000), ("marketing", 1))]
    [7, 5, 3]
    """
    if category is Category.MARKETING:
        return 3
    return 7 if recipients <= MAX_INLINE_RECIPIENTS else 5


def hash_text(request: BroadcastRequest, *, default_sender: str) -> bytes:
    """What makes two broadcasts say the same: text, sender, every value and translation."""
    varied = [each for each in (request.parameters, request.texts, request.fields) if each]
    values = json.dumps(varied[0] if len(varied) == 1 else varied, sort_keys=True) if varied else ""
    return sha256(
        "\0".join((request.text, request.sender or default_sender, values)).encode()
    ).digest()


def describe_audience(request: BroadcastRequest) -> dict[str, Any] | None:
    """Whom an order goes to, as it is kept where that is not a list of numbers."""
    if request.audience is None:
        return None
    return {"select": request.audience.to_json(), "fields": dict(request.fields)}


def collect_defaults(request: BroadcastRequest) -> dict[str, str]:
    """The values for whoever has none of their own."""
    return {
        name: values[DEFAULT] for name, values in request.parameters.items() if DEFAULT in values
    }
