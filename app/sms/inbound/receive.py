"""Inbounds: store each text from a phone once, from a callback or from Sinch's list."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from app.db.base import table_of
from app.db.facts import read_metadata, set_metadata
from app.db.prepared import Prepared, chunked
from app.logs import log_seldom
from app.phone.e164 import normalise_number
from app.sinch import schemas
from app.sinch.errors import SinchError
from app.sms.audience.broadcasts_by_recipient import BEYOND_ALL, find_broadcasts_to
from app.sms.context import Context
from app.sms.inbound.opt_out import apply_inbound, lock_for_inbounds
from app.sms.lifecycle.outbox import EventType, enqueue_event
from app.sms.models.broadcast import Broadcast
from app.sms.models.reports import Inbound
from app.subscribers.consent.ledger import ConsentEntry, append_consent_entries

# Sinch lists inbounds for this long, as far as we know.
KEPT_AT_SINCH = timedelta(days=14)
# An inbound that arrives while Sinch makes the list may be missing in it.
_OVERLAP = timedelta(hours=1)
_LIST_S = 20.0
# Inbounds stored in one transaction, which takes some 50 ms.
_CHUNK_SIZE = 30
_LISTED = "inbounds_listed"

_INBOUNDS = table_of(Inbound)
_BROADCASTS = table_of(Broadcast)
_OWNERS = Prepared(
    select(
        _BROADCASTS.c.id, _BROADCASTS.c.public_id, _BROADCASTS.c.client, _BROADCASTS.c.options
    ).where(_BROADCASTS.c.id.in_(bindparam("broadcast_ids", expanding=True)))
)
# The last broadcasts to a number that are searched for one that is not our own reply.
_MAX_BROADCASTS = 8


def _make_insert(build: Any) -> Any:
    """Build the INSERT that returns the id of a new row, and no row for a known inbound."""
    return build(_INBOUNDS).on_conflict_do_nothing().returning(_INBOUNDS.c.id)


_ADD = {"sqlite": _make_insert(sqlite.insert), "postgresql": _make_insert(postgresql.insert)}


def store_inbounds(
    tx: Connection, ctx: Context, inbounds: Sequence[schemas.SinchInbound]
) -> tuple[int, list[ConsentEntry]]:
    """Store the inbounds that are new, notify the clients, and apply the intents.

    The caller has locked suppressions.  Returns the number of new inbounds, and the consent records
    that the caller appends at the end.
    """
    new = [inbound for inbound in inbounds if _store(tx, ctx, inbound)]
    return len(new), [record for inbound in new for record in apply_inbound(tx, ctx, inbound)]


def _store(tx: Connection, ctx: Context, inbound: schemas.SinchInbound) -> bool:
    sender = normalise_number(inbound.sender) or inbound.sender
    answered = _find_answered(tx, sender)
    shown = {
        "kind": inbound.kind[:16],
        "sender": sender[:32],
        "recipient": inbound.recipient[:32],
        "body": inbound.body,
    }
    row = {
        **shown,
        "sinch_id": inbound.id[:64],
        "received_at": inbound.received_at,
        "recorded_at": ctx.now(),
        "client_reference": inbound.client_reference,
        "broadcast_id": answered.id if answered else None,
    }
    added = tx.execute(_ADD[tx.dialect.name], row).first()
    if added is None:
        return False
    if answered:
        facts = {
            **shown,
            "inbound_id": added.id,
            "broadcast_id": answered.public_id,
            "received_at": inbound.received_at.isoformat() if inbound.received_at else None,
        }
        enqueue_event(
            tx, ctx, client=answered.client, event_type=EventType.INBOUND_RECEIVED, facts=facts
        )
    return True


def _find_answered(tx: Connection, phone: str) -> Row[Any] | None:
    """Return the last broadcast of a client that was sent, or may have been, to a number."""
    last = find_broadcasts_to(tx, phone, before=BEYOND_ALL, limit=_MAX_BROADCASTS, handed_over=True)
    if not last:
        return None
    rows = {row.id: row for row in _OWNERS.fetch(tx, {"broadcast_ids": last})}
    return next((rows[id_] for id_ in last if not rows[id_].options.get("reply")), None)


def fetch_inbounds_when_due(ctx: Context) -> int | None:
    """Read Sinch's list every few minutes, for inbounds that no callback brought.

    Returns the number of new inbounds, or None if a list was due and could not be read.
    """
    with ctx.db.read() as tx:
        last_at = read_listed_at(tx)
    now = ctx.now()
    every = timedelta(seconds=ctx.rules.list_inbounds_every_s)
    if last_at and timedelta(0) <= now - last_at < every:
        return 0
    since = now - KEPT_AT_SINCH if last_at is None else min(last_at, now) - _OVERLAP
    return fetch_inbounds(ctx, since=max(since, now - KEPT_AT_SINCH))


def read_listed_at(tx: Connection) -> datetime | None:
    """Return the time of the last clean list, None if the next one goes back as far as Sinch."""
    listed = read_metadata(tx, _LISTED)
    return datetime.fromisoformat(listed) if listed else None


def set_listed_at(tx: Connection, at: datetime | None) -> None:
    """Record a clean list at this time; None makes the next one go back as far as Sinch does."""
    set_metadata(tx, _LISTED, at.isoformat() if at else "")


def fetch_inbounds(ctx: Context, *, since: datetime) -> int | None:
    """Store every inbound that Sinch lists since then.

    Returns the number of new ones, or None if the list could not be read.
    """
    started_at = ctx.now()
    try:
        newest_first = ctx.sinch.list_inbounds(received_after=since, within_s=_LIST_S)
    except SinchError as e:
        reason = str(e) or type(e).__name__
        log_seldom("sinch's list of inbounds cannot be read", level="WARNING", reason=reason)
        return None
    chunks = chunked(newest_first[::-1], _CHUNK_SIZE)
    new = sum(_store_listed(ctx, inbounds) for inbounds in chunks)
    with ctx.db.write() as tx:
        set_listed_at(tx, started_at)
    if new:
        logger.bind(inbounds=new).info("texts were found in sinch's list")
    return new


def _store_listed(ctx: Context, inbounds: Sequence[schemas.SinchInbound]) -> int:
    with ctx.db.write() as tx:
        lock_for_inbounds(tx, ctx, inbounds)
        new, records = store_inbounds(tx, ctx, inbounds)
        append_consent_entries(tx, records)
    return new
