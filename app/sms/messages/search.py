"""Messages to one number, newest first, with the reason if they were not delivered."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, null, select, union

from app.db.base import table_of
from app.db.viewer import Viewer
from app.pagination import make_page
from app.phone.e164 import inspect_number
from app.sms.audience.broadcasts_by_recipient import BEYOND_ALL, find_broadcasts_to, is_unplanned_to
from app.sms.content.placeholders import fill_text
from app.sms.context import Context
from app.sms.dispatch.payload import choose_text
from app.sms.lifecycle.counts import STATUS_BY_BATCH_STATE, explain_status, status_before_batching
from app.sms.messages.queries import MESSAGE_COLUMNS
from app.sms.models.batch import Batch, Message
from app.sms.models.broadcast import BROADCAST_URL, Broadcast, Chunk
from app.sms.models.states import BroadcastStatus
from app.sms.models.statuses import MessageStatus

_NOT_FOUND = (
    "No stored broadcast sent anything to this number: it was in no request, it was written in "
    "another way and removed as invalid, or its broadcast was deleted. Texts and numbers are kept "
    "for {days} days after all is reported."
)
_IMPROBABLE = " The number fits no known numbering plan: check it for a typing error."

_BROADCASTS, _CHUNKS = table_of(Broadcast), table_of(Chunk)
_BATCHES, _MESSAGES = table_of(Batch), table_of(Message)
_BROADCAST_COLUMNS = (
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


def search_messages(
    ctx: Context, *, recipient: str, cursor: int | None = None, limit: int = 50
) -> dict[str, Any]:
    """Return a page of the viewer's messages to one number, newest first, with an explanation."""
    before = BEYOND_ALL if cursor is None else cursor
    with ctx.db.read() as tx:
        page = make_page(_find_messages(tx, ctx.viewer, recipient, before, limit + 1), limit)
        messages = [_serialize(tx, row, recipient) for row in page.rows]
    return {
        "recipient": recipient,
        "explanation": _explain(ctx, recipient, messages) if cursor is None else None,
        "messages": messages,
        "cursor": page.cursor,
    }


def list_messages_to(
    tx: Connection, viewer: Viewer, recipient: str, *, limit: int
) -> list[dict[str, Any]]:
    """List the viewer's messages to one number with their statuses, newest first."""
    rows = _find_messages(tx, viewer, recipient, BEYOND_ALL, limit)
    return [_serialize(tx, row, recipient) for row in rows]


def _find_messages(
    tx: Connection, viewer: Viewer, recipient: str, before: int, limit: int
) -> list[Row[Any]]:
    rows = [
        *_find_planned(tx, viewer, recipient, before, limit),
        *_find_unplanned(tx, viewer, recipient, before, limit),
    ]
    return sorted(rows, key=lambda row: int(row.id), reverse=True)[:limit]


def _find_planned(
    tx: Connection, viewer: Viewer, recipient: str, before: int, limit: int
) -> list[Row[Any]]:
    ids = find_broadcasts_to(tx, recipient, before=before, limit=limit, viewer=viewer)
    query = (
        select(*_BROADCAST_COLUMNS, *MESSAGE_COLUMNS, _BATCHES.c.chunk)
        .select_from(_MESSAGES)
        .join(_BROADCASTS, _BROADCASTS.c.id == _MESSAGES.c.broadcast_id)
        .join(_BATCHES, _BATCHES.c.id == _MESSAGES.c.batch_id)
        .where(_MESSAGES.c.recipient == recipient, _MESSAGES.c.broadcast_id.in_(ids))
    )
    return list(tx.execute(query))


def _find_unplanned(
    tx: Connection, viewer: Viewer, recipient: str, before: int, limit: int
) -> list[Row[Any]]:
    """Find chunks with this recipient that have no batch yet: there are few, for a short time."""
    # Two indexed queries: the many completed broadcasts are not read.
    candidates = union(
        select(_BROADCASTS.c.id).where(_BROADCASTS.c.completed_at.is_(None)),
        select(_BROADCASTS.c.id).where(
            _BROADCASTS.c.status == BroadcastStatus.CANCELLED,
            _BROADCASTS.c.planned < _BROADCASTS.c.chunks,
        ),
    )
    no_message = [null().label(column.name) for column in MESSAGE_COLUMNS]
    query = (
        select(*_BROADCAST_COLUMNS, *no_message, _CHUNKS.c.number.label("chunk"))
        .join(_CHUNKS, _CHUNKS.c.broadcast_id == _BROADCASTS.c.id)
        .where(_BROADCASTS.c.id.in_(candidates), _BROADCASTS.c.id < before)
        .where(viewer.sees(_BROADCASTS.c.client), is_unplanned_to(recipient))
        .order_by(_BROADCASTS.c.id.desc())
        .limit(limit)
    )
    return list(tx.execute(query))


def _serialize(tx: Connection, row: Row[Any], recipient: str) -> dict[str, Any]:
    unplanned = status_before_batching(row.broadcast_status)
    status = row.status or (STATUS_BY_BATCH_STATE[row.state] if row.state else unplanned)
    exclusion_reason = row.exclusion_reason if row.state else None
    explained = explain_status(status, row.code, exclusion_reason)
    if status is MessageStatus.PENDING and exclusion_reason is None:
        reason = f"Not submitted to Sinch yet: its broadcast is {row.broadcast_status.value}."
        explained["reason"] = reason
    return {
        "recipient": recipient,
        **explained,
        "at": row.at,
        "batch_id": row.sinch_id,
        "client_reference": row.client_reference,
        "broadcast_id": row.public_id,
        "broadcast_status": row.broadcast_status.value,
        "url": BROADCAST_URL.format(row.public_id),
        "client": row.client,
        "reference": row.reference,
        "sender": row.sender,
        "text": _fill(tx, row, recipient),
        "created_at": row.created_at,
    }


def _fill(tx: Connection, row: Row[Any], recipient: str) -> str:
    """Return the text as this recipient gets it."""
    if "${" not in row.text and row.texts is None:
        return str(row.text)
    query = select(_CHUNKS.c.parameters, _CHUNKS.c.language).where(
        _CHUNKS.c.broadcast_id == row.id, _CHUNKS.c.number == row.chunk
    )
    chunk = tx.execute(query).one()
    parameters: Mapping[str, Any] = chunk.parameters or {}
    own = {name: values[recipient] for name, values in parameters.items() if recipient in values}
    text = choose_text(row, chunk.language)
    return fill_text(text, {**(row.options.get("defaults") or {}), **own})


def _explain(ctx: Context, recipient: str, messages: list[dict[str, Any]]) -> str:
    if not messages:
        improbable = not inspect_number(recipient).valid
        return _NOT_FOUND.format(days=ctx.rules.messages_kept_days) + (
            _IMPROBABLE if improbable else ""
        )
    newest = messages[0]
    created = f"{newest['created_at']:%Y-%m-%d %H:%M} UTC"
    if newest["status"] == MessageStatus.DELIVERED.value:
        return f"The newest, of {created}, was delivered."
    return f"The newest, of {created}, is {newest['status']}: {newest['reason']}"
