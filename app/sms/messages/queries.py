"""SELECT statements that page through a broadcast's messages."""

from collections.abc import Collection
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
from app.sms.models.states import BatchState, ExclusionReason
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
    """Filter of messages by statuses, code, and reason of exclusion; an empty value matches any."""

    statuses: Collection[MessageStatus] = ()
    code: int | None = None
    exclusion_reason: ExclusionReason | None = None

    @property
    def matches_all(self) -> bool:
        return self == MessageFilter()


ALL = MessageFilter()


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
    if wanted.exclusion_reason is not None:
        conditions.append(_BATCHES.c.exclusion_reason == wanted.exclusion_reason)
        conditions.append(_BATCHES.c.state.in_((BatchState.SUPPRESSED, BatchState.PENDING)))
    if wanted.statuses:
        alternatives: list[ColumnElement[bool]] = [_MESSAGES.c.status.in_(wanted.statuses)]
        states = [
            state for state, status in STATUS_BY_BATCH_STATE.items() if status in wanted.statuses
        ]
        # Only a message without a report has its batch's status, and only a report has a code.
        if states and wanted.code is None:
            alternatives.append(and_(_MESSAGES.c.status.is_(None), _BATCHES.c.state.in_(states)))
        if unplanned in wanted.statuses:
            alternatives.append(_BATCHES.c.id.is_(None))
        conditions.append(or_(*alternatives))
    return conditions
