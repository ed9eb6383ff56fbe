"""The thread of one person: texts both ways, and what was agreed and stopped between them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from app.keywords.classify import KeywordIntent, classify_texts
from app.sinch.schemas import read_texts
from app.sms.context import Context
from app.sms.inbound.list import list_texts_from
from app.sms.inbound.threads import read_body
from app.sms.messages.search import search_messages
from app.sms.models.statuses import MessageStatus
from app.subscribers.models import ConsentKind
from app.web.broadcasts.accounting import MARKS

_SHOWN = 40
_HEARD = {
    KeywordIntent.STOP: "heard as STOP",
    KeywordIntent.MAYBE_STOP: "may mean STOP",
    KeywordIntent.START: "heard as START",
    KeywordIntent.YES: "heard as YES",
    KeywordIntent.HELP: "heard as HELP",
}
_EVENTS = {
    ConsentKind.OPT_IN: "Agreed to marketing",
    ConsentKind.OPT_OUT: "Opted out",
    ConsentKind.RELEASED: "Texts were allowed again",
}


@dataclass(frozen=True, slots=True)
class ThreadEntry:
    """A text of ours, a text of theirs, or an event; `heard` is the keyword of a text of theirs."""

    side: str
    at: datetime
    text: str
    kind: str = ""
    word: str = ""
    reason: str = ""
    heard: str = ""
    broadcast_id: str = ""


@dataclass(frozen=True, slots=True)
class ThreadPage:
    """Entries, the newest last, and the cursors behind which there are older texts, if any.

    `newest_text_id` is that of the newest text of theirs on the page, by which it is answered.
    """

    entries: list[ThreadEntry]
    ours: str | None
    theirs: str | None
    newest_text_id: int | None


def read_thread(
    ctx: Context,
    phone: str,
    events: Sequence[Mapping[str, Any]],
    *,
    ours: int | None = None,
    theirs: int | None = None,
) -> ThreadPage:
    """Return the newest texts both ways, or those behind the cursors, with the events of that time.

    A page shows 40 texts of each side at most.
    """
    sent = search_messages(ctx, recipient=phone, cursor=ours, limit=_SHOWN)
    received = list_texts_from(ctx, phone, cursor=theirs, limit=_SHOWN)
    texts = [*map(_show_ours, sent["messages"]), *map(_show_theirs, received.rows)]
    is_last = sent["cursor"] is None and received.cursor is None
    is_first = ours is None and theirs is None
    times = [entry.at for entry in texts]
    known = [
        ThreadEntry("event", event["at"], _EVENTS[event["kind"]])
        for event in events
        if event["kind"] in _EVENTS
        and (is_last or (times and event["at"] >= min(times)))
        and (is_first or (times and event["at"] <= max(times)))
    ]
    # A side that has ended has no page behind this one: its cursor finds nothing.
    more = not is_last
    return ThreadPage(
        sorted([*texts, *known], key=lambda entry: entry.at),
        (sent["cursor"] or "0") if more else None,
        (received.cursor or "0") if more else None,
        received.rows[0].id if received.rows else None,
    )


def _show_ours(message: Mapping[str, Any]) -> ThreadEntry:
    status = MessageStatus(message["status"])
    kind, word = MARKS[status]
    return ThreadEntry(
        "ours",
        message["at"] or message["created_at"],
        message["text"],
        kind,
        word,
        reason="" if status is MessageStatus.DELIVERED else message["reason"],
        broadcast_id=message["broadcast_id"],
    )


def _show_theirs(row: Row[Any]) -> ThreadEntry:
    heard = _HEARD.get(classify_texts(read_texts(row.kind, row.body)).intent, "")
    return ThreadEntry("theirs", row.received_at or row.recorded_at, read_inbound(row), heard=heard)


def read_inbound(row: Row[Any]) -> str:
    """Return what a person wrote, or what else they sent."""
    text = read_body(row.kind, row.body)
    return text or ("A picture or a file." if _is_json(row.body) else "No readable text.")


def _is_json(body: str) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except ValueError:
        return False
