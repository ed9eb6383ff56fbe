"""Which messages of a broadcast, and from where on, as the database is asked for them."""

from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Text,
    and_,
    bindparam,
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
_SHOWN = (
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


# Made once for each kind of question: to make a statement costs several times what it takes to
# run one.
@cache
def select_by_index(status: MessageStatus | None, by_code: bool) -> Select[Any]:
    """The next `most` messages of the broadcast `of` from the number `first` to `last`, by key."""
    return (
        select(_MESSAGES.c.recipient, _BATCHES.c.chunk, *_SHOWN)
        .select_from(_MESSAGES.join(_BATCHES, _BATCHES.c.id == _MESSAGES.c.batch_id))
        .where(_MESSAGES.c.broadcast_id == bindparam("of"))
        .where(_MESSAGES.c.recipient.between(bindparam("first"), bindparam("last")))
        .where(*_choose(status, by_code, unplanned=None))
        .order_by(_MESSAGES.c.recipient)
        .limit(bindparam("most"))
    )


@cache
def select_by_chunk(
    dialect: str,
    status: MessageStatus | None,
    by_code: bool,
    unplanned: MessageStatus,
) -> Select[Any]:
    """The next `most` of the chunks from `chunk` to before `end`, those behind an `offset` there.

    Also of those who are in no batch yet; `unplanned` is where they stand.
    """
    line, offset = _take_apart(dialect)
    whose = and_(
        _MESSAGES.c.broadcast_id == _CHUNKS.c.broadcast_id, _MESSAGES.c.recipient == line.c.value
    )
    everybody = (
        _CHUNKS.join(line, true())
        .outerjoin(_MESSAGES, whose)
        .outerjoin(_BATCHES, _BATCHES.c.id == _MESSAGES.c.batch_id)
    )
    here = _CHUNKS.c.number == bindparam("chunk")
    return (
        select(
            line.c.value.label("recipient"),
            _CHUNKS.c.number.label("chunk"),
            offset.label("offset"),
            _CHUNKS.c.size,
            *_SHOWN,
        )
        .select_from(everybody)
        .where(_CHUNKS.c.broadcast_id == bindparam("of"))
        .where(_CHUNKS.c.number >= bindparam("chunk"), _CHUNKS.c.number < bindparam("end"))
        .where(or_(~here, offset >= bindparam("offset")))
        .where(*_choose(status, by_code, unplanned=unplanned))
        .order_by(_CHUNKS.c.number, offset)
        .limit(bindparam("most"))
    )


def _take_apart(dialect: str) -> tuple[FromClause, ColumnElement[int]]:
    """The lines of a chunk as rows, and the place of each, from 0."""
    value: ColumnElement[str] = column("value", Text)
    if dialect == "sqlite":
        array = '["' + func.replace(_CHUNKS.c.recipients, "\n", '","') + '"]'
        line: FromClause = func.json_each(array).table_valued(value, "key", name="line")
        return line, type_coerce(line.c.key, Integer)
    lines = func.unnest(func.string_to_array(_CHUNKS.c.recipients, "\n"))
    line = lines.table_valued(value, with_ordinality="key", name="line").render_derived()
    return line, type_coerce(line.c.key, Integer) - 1


def _choose(
    status: MessageStatus | None,
    by_code: bool,
    *,
    unplanned: MessageStatus | None,
) -> list[ColumnElement[bool]]:
    """What holds of a wanted message; `unplanned` is where those without a batch stand."""
    wanted: list[ColumnElement[bool]] = []
    if by_code:
        wanted.append(_MESSAGES.c.code == bindparam("code"))
    if status is not None:
        ways = [_MESSAGES.c.status == status]
        states = [state for state, stands in STATUS_BY_BATCH_STATE.items() if stands is status]
        # Nothing of the batch is looked at where its state does not matter.
        if states and not by_code:
            ways.append(and_(_MESSAGES.c.status.is_(None), _BATCHES.c.state.in_(states)))
        if status is unplanned:
            ways.append(_BATCHES.c.id.is_(None))
        wanted.append(or_(*ways))
    return wanted
