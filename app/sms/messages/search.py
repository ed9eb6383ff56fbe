"""What one person was sent, and why they did not get it."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, literal, null, select, union

from app.db.base import table_of
from app.pagination import make_page
from app.phone.e164 import inspect_number
from app.sms.audience.broadcasts_by_recipient import BEYOND_ALL, find_broadcasts_to
from app.sms.content.placeholders import fill_text
from app.sms.context import Context
from app.sms.dispatch.payload import choose_text
from app.sms.lifecycle.counts import (
    STATUS_BY_BATCH_STATE,
    explain_status,
    make_url,
    status_before_batching,
)
from app.sms.models.batch import Batch, Message
from app.sms.models.broadcast import Broadcast, Chunk
from app.sms.models.states import BroadcastStatus
from app.sms.models.statuses import MessageStatus

_NOTHING = (
    "Nothing was sent to this number by any broadcast that is kept: it was asked for in none, or "
    "written in another way and left out as invalid."
)
_IMPROBABLE = " No phone has such a number, as far as its pattern tells: look for a slip in it."

_BROADCASTS, _CHUNKS = table_of(Broadcast), table_of(Chunk)
_BATCHES, _MESSAGES = table_of(Batch), table_of(Message)
_SHOWN = (
    _BROADCASTS.c.id,
    _BROADCASTS.c.public_id,
    _BROADCASTS.c.status.label("broadcast_status"),
    _BROADCASTS.c.client,
    _BROADCASTS.c.reference,
    _BROADCASTS.c.sender,
    _BROADCASTS.c.text,
    _BROADCASTS.c.texts,
    _BROADCASTS.c.options,
    _BROADCASTS.c.created_at,
)
# Made once: to make a statement costs several times what it takes to run one.
_IN_BATCHES = (
    select(
        *_SHOWN,
        _MESSAGES.c.status,
        _MESSAGES.c.code,
        func.coalesce(_MESSAGES.c.status_at, _MESSAGES.c.recorded_at, _BATCHES.c.accepted_at).label(
            "at"
        ),
        _BATCHES.c.state,
        _BATCHES.c.chunk,
        _BATCHES.c.client_reference,
        _BATCHES.c.sinch_id,
        _BATCHES.c.exclusion_reason,
    )
    .select_from(
        _MESSAGES.join(_BROADCASTS, _BROADCASTS.c.id == _MESSAGES.c.broadcast_id).join(
            _BATCHES, _BATCHES.c.id == _MESSAGES.c.batch_id
        )
    )
    .where(_MESSAGES.c.recipient == bindparam("who"))
    .where(_MESSAGES.c.broadcast_id.in_(bindparam("these", expanding=True)))
)
# Whoever is in no batch yet has no message: few broadcasts have such, and for a short time only.
_NONE = [
    null().label(name)
    for name in (
        "status",
        "code",
        "at",
        "state",
        "client_reference",
        "sinch_id",
        "exclusion_reason",
    )
]
_UNCUT = _BROADCASTS.c.planned < _BROADCASTS.c.chunks
# Each by an index of its own: the many that have ended are not looked at.
_OPEN = select(_BROADCASTS.c.id).where(_BROADCASTS.c.completed_at.is_(None), _UNCUT)
_CANCELLED = select(_BROADCASTS.c.id).where(
    _BROADCASTS.c.status == BroadcastStatus.CANCELLED, _UNCUT
)
_NOT_IN_BATCHES = (
    select(*_SHOWN, *_NONE, _CHUNKS.c.number.label("chunk"))
    .select_from(_BROADCASTS.join(_CHUNKS, _CHUNKS.c.broadcast_id == _BROADCASTS.c.id))
    .where(_BROADCASTS.c.id.in_(union(_OPEN, _CANCELLED)))
    .where(_CHUNKS.c.number >= _BROADCASTS.c.planned)
    .where(_BROADCASTS.c.id < bindparam("before"))
    .where((literal("\n") + _CHUNKS.c.recipients + literal("\n")).contains(bindparam("line")))
    .order_by(_BROADCASTS.c.id.desc())
    .limit(bindparam("most"))
)
_VALUES = select(_CHUNKS.c.parameters, _CHUNKS.c.language).where(
    _CHUNKS.c.broadcast_id == bindparam("of"), _CHUNKS.c.number == bindparam("this")
)


def search_messages(
    ctx: Context, *, recipient: str, cursor: int | None = None, limit: int = 50
) -> dict[str, Any]:
    """A page of what one number was sent, the newest first, and what to say of it."""
    before = BEYOND_ALL if cursor is None else cursor
    with ctx.db.read() as tx:
        page = make_page(_find(tx, recipient, before, limit + 1), limit)
        messages = [_show(tx, row, recipient) for row in page.rows]
    return {
        "recipient": recipient,
        "explanation": _explain(recipient, messages) if cursor is None else None,
        "messages": messages,
        "cursor": page.cursor,
    }


def list_messages_to(tx: Connection, recipient: str, *, most: int) -> list[dict[str, Any]]:
    """What one number was sent, the newest first, and what became of each."""
    return [_show(tx, row, recipient) for row in _find(tx, recipient, BEYOND_ALL, most)]


def _find(tx: Connection, recipient: str, before: int, most: int) -> list[Row[Any]]:
    values = {"before": before, "most": most}
    these = find_broadcasts_to(tx, recipient, before=before, limit=most)
    rows: list[Row[Any]] = list(tx.execute(_IN_BATCHES, {"who": recipient, "these": these}))
    rows += tx.execute(_NOT_IN_BATCHES, values | {"line": f"\n{recipient}\n"})
    return sorted(rows, key=lambda row: int(row.id), reverse=True)[:most]


def _show(tx: Connection, row: Row[Any], recipient: str) -> dict[str, Any]:
    waits = status_before_batching(row.broadcast_status)
    status = row.status or (STATUS_BY_BATCH_STATE[row.state] if row.state else waits)
    exclusion_reason = row.exclusion_reason if row.state else None
    shown = explain_status(status, row.code, exclusion_reason)
    if status is MessageStatus.PENDING and exclusion_reason is None:
        shown["reason"] = f"Not handed to Sinch yet: its broadcast is {row.broadcast_status.value}."
    return {
        "recipient": recipient,
        **shown,
        "at": row.at,
        "batch_id": row.sinch_id,
        "client_reference": row.client_reference,
        "broadcast_id": row.public_id,
        "broadcast_status": row.broadcast_status.value,
        "url": make_url(row.public_id),
        "client": row.client,
        "reference": row.reference,
        "sender": row.sender,
        "text": _fill(tx, row, recipient),
        "created_at": row.created_at,
    }


def _fill(tx: Connection, row: Row[Any], recipient: str) -> str:
    """The text as this person gets it."""
    if "${" not in row.text and row.texts is None:
        return str(row.text)
    chunk = tx.execute(_VALUES, {"of": row.id, "this": row.chunk}).one()
    own: Mapping[str, Any] = chunk.parameters or {}
    theirs = {name: values[recipient] for name, values in own.items() if recipient in values}
    text = choose_text(row, chunk.language)
    return fill_text(text, {**(row.options.get("defaults") or {}), **theirs})


def _explain(recipient: str, messages: list[dict[str, Any]]) -> str:
    if not messages:
        improbable = not inspect_number(recipient).valid
        return _NOTHING + (_IMPROBABLE if improbable else "")
    newest = messages[0]
    when = f"{newest['created_at']:%Y-%m-%d %H:%M} UTC"
    if newest["status"] == MessageStatus.DELIVERED.value:
        return f"The newest, of {when}, was delivered."
    return f"The newest, of {when}, is {newest['status']}: {newest['reason']}"
