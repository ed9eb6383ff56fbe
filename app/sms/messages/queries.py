"""SELECT statements that page through a broadcast's messages."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Text,
    and_,
    column,
    func,
    or_,
    select,
    true,
    type_coerce,
)

from app.db.base import table_of
from app.sms.lifecycle.counts import STATUS_BY_BATCH_STATE
from app.sms.models.batch import Batch, Message
from app.sms.models.broadcast import Chunk
from app.sms.models.statuses import MessageStatus

_CHUNKS, _BATCHES, _MESSAGES = table_of(Chunk), table_of(Batch), table_of(Message)
MESSAGE_COLUMNS = (
    _MESSAGES.c.status,
    _MESSAGES.c.code,
    func.coalesce(_MESSAGES.c.status_at, _MESSAGES.c.recorded_at, _BATCHES.c.accepted_at).label(
        "at"
    ),
    _BATCHES.c.state,
    _BATCHES.c.client_reference,
    _BATCHES.c.sinch_id,
    _BATCHES.c.exclusion_reason,
)


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """A status and a code that messages must have; None matches any."""

    status: MessageStatus | None
    code: int | None

    @property
    def matches_all(self) -> bool:
        return self.status is None and self.code is None


def select_messages(
    broadcast_id: int,
    wanted: MessageFilter,
    *,
    dialect: str,
    first: int,
    offset: int,
    end: int,
    unplanned: MessageStatus,
) -> Select[Any]:
    """Select messages and recipients without a batch yet, in the order of their chunks.

    They begin at an offset of the chunk `first` and stop before the chunk `end`; `unplanned` is the
    status of recipients without a batch.
    """
    line, index = _split_recipients(dialect)
    is_message = and_(
        _MESSAGES.c.broadcast_id == _CHUNKS.c.broadcast_id, _MESSAGES.c.recipient == line.c.value
    )
    recipients = (
        _CHUNKS.join(line, true())
        .outerjoin(_MESSAGES, is_message)
        .outerjoin(_BATCHES, _BATCHES.c.id == _MESSAGES.c.batch_id)
    )
    return (
        select(
            line.c.value.label("recipient"),
            _CHUNKS.c.number.label("chunk"),
            index.label("offset"),
            _CHUNKS.c.size,
            *MESSAGE_COLUMNS,
        )
        .select_from(recipients)
        .where(_CHUNKS.c.broadcast_id == broadcast_id)
        .where(_CHUNKS.c.number >= first, _CHUNKS.c.number < end)
        .where(or_(_CHUNKS.c.number != first, index >= offset))
        .where(*_list_conditions(wanted, unplanned))
        .order_by(_CHUNKS.c.number, index)
    )


def _split_recipients(dialect: str) -> tuple[FromClause, ColumnElement[int]]:
    """Return the recipients of a chunk as rows, and the index of each, from 0."""
    value: ColumnElement[str] = column("value", Text)
    if dialect == "sqlite":
        array = '["' + func.replace(_CHUNKS.c.recipients, "\n", '","') + '"]'
        line: FromClause = func.json_each(array).table_valued(value, "key", name="line")
        return line, type_coerce(line.c.key, Integer)
    lines = func.unnest(func.string_to_array(_CHUNKS.c.recipients, "\n"))
    line = lines.table_valued(value, with_ordinality="key", name="line").render_derived()
    return line, type_coerce(line.c.key, Integer) - 1


def _list_conditions(wanted: MessageFilter, unplanned: MessageStatus) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.code is not None:
        conditions.append(_MESSAGES.c.code == wanted.code)
    if wanted.status is not None:
        alternatives = [_MESSAGES.c.status == wanted.status]
        states = [
            state for state, status in STATUS_BY_BATCH_STATE.items() if status is wanted.status
        ]
        # Only a message without a report has its batch's status, and only a report has a code.
        if states and wanted.code is None:
            alternatives.append(and_(_MESSAGES.c.status.is_(None), _BATCHES.c.state.in_(states)))
        if wanted.status is unplanned:
            alternatives.append(_BATCHES.c.id.is_(None))
        conditions.append(or_(*alternatives))
    return conditions
