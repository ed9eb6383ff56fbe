"""Broadcast requests, validated: the text, its options and its recipients or audience."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from app.sinch.schemas import ReportMode
from app.sms.content.placeholders import DEFAULT, Parameters
from app.sms.models.states import Category
from app.subscribers.audiences.audience import Audience
from app.text.segments import Encoding, TextSize

MAX_RECIPIENTS = 1_000_000
# A broadcast of at most this size is submitted to Sinch within its request.
MAX_INLINE_RECIPIENTS = 1_000
# Sinch keeps a batch at most 3 days: https://developers.sinch.com/docs/sms/api-reference/
MAX_LIFE = timedelta(days=3)
# A later start is a slip of the year.
MAX_AHEAD_DAYS = 366
# Fewer recipients may get an equal text again: "your taxi is here".
EXEMPT_BELOW = 10
_UNMEASURED = TextSize(Encoding.GSM_7, 1)


@dataclass(frozen=True, slots=True)
class TemplateName:
    """A stored text, in its newest version unless a version is given."""

    name: str
    version: int | None = None


@dataclass(frozen=True, slots=True)
class CanaryRules:
    """A first part of a broadcast, by whose outcome the rest is sent or not.

    The rest waits until the messages of `recipients` have ended, `wait_minutes` at most.
    """

    recipients: int
    wait_minutes: int = 30
    max_failed_percent: float = 5.0
    max_opt_out_percent: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BroadcastRequest:
    """A validated request: recipients in E.164, each once, or an audience for a later lookup.

    `parameters` maps a placeholder's name to `{recipient or "default": value}`.  For an audience,
    `fields` names the subscriber field that fills a placeholder.  `quote_tolerance` is in per cent,
    None to refuse whatever has moved without a count of how much.  `texts` are translations by
    language; `text` is the one in `language`.  prepare_request sets the `size`.  `invalid` are
    entries that `skip_invalid` removed.  `reply` is the kind of an automatic reply to an inbound
    text, `is_answer` marks a user's answer to one, `created_by` is the user of a page or an
    operator; more than `most_people` of an audience need a second person, who is told what it comes
    to by the figures that were `quoted`.
    """

    recipients: Sequence[str]
    text: str
    size: TextSize = _UNMEASURED
    audience: Audience | None = None
    tag: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    language: str | None = None
    template: TemplateName | None = None
    quote: str | None = None
    quote_tolerance: int | None = 0
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
    canary: CanaryRules | None = None
    duplicates_removed: int = 0
    invalid: Sequence[object] = ()
    reply: str | None = None
    is_answer: bool = False
    created_by: str | None = None
    most_people: int | None = None
    quoted: Mapping[str, Any] | None = None


def choose_priority(category: Category, recipients: int) -> int:
    """Return the default priority: small transactional broadcasts first, marketing last.

    >>> [choose_priority(Category(c), n) for c, n in
    ...  (("transactional", 1), ("transactional", 5000), ("marketing", 1))]
    [7, 5, 3]
    """
    if category is Category.MARKETING:
        return 3
    return 7 if recipients <= MAX_INLINE_RECIPIENTS else 5


def may_be_repeated(request: BroadcastRequest, recipients: int | None) -> bool:
    """Return True if a request may be equal to another; `recipients` is None if not known yet."""
    few = recipients is not None and recipients < EXEMPT_BELOW
    return request.allow_duplicate or (few and request.category is Category.TRANSACTIONAL)


def hash_text(request: BroadcastRequest, *, default_sender: str) -> bytes:
    """Return the SHA-256 of text, sender, values and translations, for finding duplicates."""
    mappings = [m for m in (request.parameters, request.texts, request.fields) if m]
    values = mappings[0] if len(mappings) == 1 else mappings
    json_values = json.dumps(values, sort_keys=True) if mappings else ""
    content = "\0".join((request.text, request.sender or default_sender, json_values))
    return sha256(content.encode()).digest()


def describe_audience(request: BroadcastRequest) -> dict[str, Any] | None:
    """Return the audience as it is stored with a broadcast; None for a list of recipients."""
    if request.audience is None:
        return None
    return {"select": request.audience.to_json(), "fields": dict(request.fields)}


def collect_defaults(request: BroadcastRequest) -> dict[str, str]:
    """Return the default value of each placeholder that has one."""
    return {
        name: values[DEFAULT] for name, values in request.parameters.items() if DEFAULT in values
    }
