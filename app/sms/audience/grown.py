"""Audiences that have grown since they were approved: their broadcast waits for a second person.

The number that was approved is in the broadcast's options.  People are counted when all of them
are looked up, before the first text.  Once a user has resumed the broadcast on its page, those who
were found get it; API keys and commands have no second person.
"""

from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, and_, func, select, update

from app.config.keys import OWN_CLIENT
from app.db.audit import write_audit
from app.db.base import table_of
from app.errors import Conflict
from app.sms.context import Context
from app.sms.models.broadcast import Broadcast, Chunk
from app.sms.models.states import BroadcastStatus

_BROADCASTS, _CHUNKS = table_of(Broadcast), table_of(Chunk)
_MOST, _GROWN_TO = "most_people", "grown_to"
# What find_growth finds.
HAS_GROWN = and_(
    _BROADCASTS.c.status == BroadcastStatus.PAUSED,
    _BROADCASTS.c.options[_GROWN_TO].as_integer().is_not(None),
)


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
    write_audit(tx, ctx.now(), OWN_CLIENT, "pause", subject, **facts)
    logger.bind(broadcast_id=subject, **facts).warning(
        "more people are in an audience than were approved: a second person has to resume it"
    )


def find_growth(broadcast: Row[Any]) -> int | None:
    """Return the people of an audience that waits since it has grown; None of others."""
    grown_to: int | None = broadcast.options.get(_GROWN_TO)
    return grown_to if broadcast.status is BroadcastStatus.PAUSED else None


def find_quoted(broadcast: Row[Any]) -> dict[str, Any] | None:
    """Return what was quoted of a broadcast before its audience grew, as pick_figures does."""
    quoted: dict[str, Any] | None = broadcast.options.get("quoted")
    return quoted


def refuse_growth(_tx: Connection, broadcast: Row[Any]) -> None:
    """Raise Conflict for a broadcast that waits since its audience has grown."""
    if find_growth(broadcast):
        raise Conflict(
            "More people are in its audience by now than were approved: a second person has to "
            "resume it on its page.",
            status=broadcast.status.value,
        )


def accept_growth(tx: Connection, broadcast: Row[Any]) -> None:
    """Let a broadcast that is resumed go to all who were found."""
    if _GROWN_TO in broadcast.options:
        options = {name: value for name, value in broadcast.options.items() if name != _GROWN_TO}
        tx.execute(
            update(_BROADCASTS).where(_BROADCASTS.c.id == broadcast.id).values(options=options)
        )
