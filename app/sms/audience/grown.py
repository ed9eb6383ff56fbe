"""Audiences that have grown since they were approved: their broadcast waits for a second person.

The number that was approved is in the broadcast's options.  People are counted when all of them
are looked up, before the first text.  Once the broadcast is resumed, those who were found get it.
"""

from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, Select, func, select, update

from app.config.keys import OWN_CLIENT
from app.db.audit import write_audit
from app.db.base import table_of
from app.sms.context import Context
from app.sms.models.broadcast import Broadcast, Chunk
from app.sms.models.states import BroadcastStatus

_BROADCASTS, _CHUNKS = table_of(Broadcast), table_of(Chunk)
_MOST, _GROWN_TO = "most_people", "grown_to"
_STUCK = (BroadcastStatus.HALTED, BroadcastStatus.MISSED_START)
_MAX_SHOWN = 20


def pause_if_grown(tx: Connection, ctx: Context, broadcast: Row[Any]) -> None:
    """Pause a broadcast, whose audience is looked up, if more people are in it than may get it."""
    most: int | None = broadcast.options.get(_MOST)
    if most is None:
        return
    query = select(func.coalesce(func.sum(_CHUNKS.c.size), 0)).where(
        _CHUNKS.c.broadcast_id == broadcast.id, _CHUNKS.c.exclusion_reason.is_(None)
    )
    people: int = tx.execute(query).scalar_one()
    if people <= most:
        return
    options = {**broadcast.options, _GROWN_TO: people}
    ours = update(_BROADCASTS).where(_BROADCASTS.c.id == broadcast.id)
    tx.execute(ours.values(status=BroadcastStatus.PAUSED, options=options))
    facts, subject = {"people": people, "most": most}, broadcast.public_id
    write_audit(tx, now=ctx.now(), actor=OWN_CLIENT, action="pause", subject=subject, facts=facts)
    logger.bind(broadcast_id=subject, **facts).warning(
        "more people are in an audience than were approved: a second person has to resume it"
    )


def find_growth(broadcast: Row[Any]) -> int | None:
    """Return the people of an audience that waits since it has grown; None of others."""
    grown_to: int | None = broadcast.options.get(_GROWN_TO)
    return grown_to if broadcast.status is BroadcastStatus.PAUSED else None


def list_stuck(ctx: Context) -> list[Row[Any]]:
    """List broadcasts that wait for a person: halted, not started in time, or grown."""
    columns = _BROADCASTS.c
    shown = (
        columns.public_id,
        columns.reference,
        columns.text,
        columns.status,
        columns.send_at,
        columns.options,
    )
    query: Select[Any] = select(*shown).where(columns.status.in_((*_STUCK, BroadcastStatus.PAUSED)))
    with ctx.db.read() as tx:
        rows = tx.execute(query.order_by(columns.id)).all()
    return [row for row in rows if row.status in _STUCK or find_growth(row)][:_MAX_SHOWN]


def accept_growth(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a broadcast that is resumed."""
    return {name: value for name, value in options.items() if name != _GROWN_TO}
