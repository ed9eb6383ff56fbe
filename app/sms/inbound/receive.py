"""Texts from phones to us: each kept once, whether it was told or found in Sinch's list."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from app.db.base import table_of
from app.db.facts import delete_metadata, read_metadata, set_metadata
from app.sinch import schemas
from app.sinch.errors import SinchError
from app.sms.audience.broadcasts_by_recipient import BEYOND_ALL, find_broadcasts_to
from app.sms.context import Context
from app.sms.inbound.opt_out import apply_inbound, lock_for_inbounds
from app.sms.lifecycle.outbox import EventType, enqueue_event
from app.sms.models.broadcast import Broadcast
from app.sms.models.reports import Inbound
from app.subscribers.consent.ledger import ConsentRecord, append_consent_records

# Sinch keeps inbounds for so long, as far as is known.
KEPT_AT_SINCH = timedelta(days=14)
# What was received while a list was made may be missing in it.
_OVERLAP = timedelta(hours=1)
_LIST_S = 20.0
# Kept in one transaction, which takes some 50 ms.
_AT_ONCE = 30
_LISTED = "inbounds_listed"

_INBOUNDS = table_of(Inbound)
_BROADCASTS = table_of(Broadcast)
_OWNERS = select(
    _BROADCASTS.c.id, _BROADCASTS.c.public_id, _BROADCASTS.c.client, _BROADCASTS.c.options
).where(_BROADCASTS.c.id.in_(bindparam("these", expanding=True)))
# Of the last so many sent to a person some may be answers of ours, which nobody answers.
_LOOKED_AT = 8


def _make_insert(build: Any) -> Any:
    """Gives the row's id when it is new, and nothing when it is not."""
    return build(_INBOUNDS).on_conflict_do_nothing().returning(_INBOUNDS.c.id)


_ADD = {"sqlite": _make_insert(sqlite.insert), "postgresql": _make_insert(postgresql.insert)}


@dataclass(frozen=True, slots=True)
class StoredInbounds:
    """How many texts were new, and what of them is still to be written into the ledger."""

    new: int
    said: Sequence[ConsentRecord]


def store_inbounds(
    tx: Connection, ctx: Context, inbounds: Sequence[schemas.SinchInbound]
) -> StoredInbounds:
    """Keep the texts that are new, note them for the client they answer, and do what they ask for.

    Suppressions are held for it; the ledger is written by the caller, at the end.
    """
    new = [each for each in inbounds if _note(tx, ctx, each)]
    return StoredInbounds(len(new), [said for each in new for said in apply_inbound(tx, ctx, each)])


def _note(tx: Connection, ctx: Context, inbound: schemas.SinchInbound) -> bool:
    now = ctx.now()
    answered = _find_answered(tx, _clean(inbound.sender))
    row = {
        "sinch_id": _clean(inbound.id)[:64],
        "kind": _clean(inbound.kind)[:16],
        "sender": _clean(inbound.sender)[:32],
        "recipient": _clean(inbound.recipient)[:32],
        "body": _clean(inbound.body),
        "received_at": inbound.received_at,
        "recorded_at": now,
        "client_reference": _clean(inbound.client_reference or "")[:128] or None,
        "broadcast_id": answered.id if answered else None,
    }
    added = tx.execute(_ADD[tx.dialect.name], row).first()
    if added is None:
        return False
    if answered:
        facts = {
            "inbound_id": added.id,
            "broadcast_id": answered.public_id,
            "kind": row["kind"],
            "sender": row["sender"],
            "recipient": row["recipient"],
            "body": row["body"],
            "received_at": inbound.received_at.isoformat() if inbound.received_at else None,
        }
        enqueue_event(
            tx, ctx, client=answered.client, event_type=EventType.INBOUND_RECEIVED, facts=facts
        )
    return True


def _find_answered(tx: Connection, phone: str) -> Row[Any] | None:
    """The last broadcast that a phone was sent, or may have been."""
    last = find_broadcasts_to(tx, phone, before=BEYOND_ALL, limit=_LOOKED_AT, handed_over=True)
    if not last:
        return None
    rows: list[Row[Any]] = list(tx.execute(_OWNERS, {"these": last}))
    found = {row.id: row for row in rows}
    return next((found[each] for each in last if not found[each].options.get("reply")), None)


def _clean(text: str) -> str:
    """Without NUL, which PostgreSQL does not keep."""
    return text.replace("\0", "")


def fetch_inbounds_when_due(ctx: Context) -> int | None:
    """Look for texts that no callback told of, every few minutes.

    How many were new; None when the list that was due could not be read.
    """
    with ctx.db.read() as tx:
        listed = read_metadata(tx, _LISTED)
    now = ctx.now()
    last_at = datetime.fromisoformat(listed) if listed else None
    every = timedelta(seconds=ctx.rules.list_inbounds_every_s)
    if last_at and timedelta(0) <= now - last_at < every:
        return 0
    since = now - KEPT_AT_SINCH if last_at is None else min(last_at, now) - _OVERLAP
    return fetch_inbounds(ctx, since=max(since, now - KEPT_AT_SINCH))


def restart_listing(tx: Connection) -> None:
    """Let the next list go back as far as Sinch's memory does."""
    delete_metadata(tx, _LISTED)


def mark_listed(tx: Connection, now: datetime) -> None:
    """Let it stand as if a clean list had just been made: on an operator's word."""
    set_metadata(tx, _LISTED, now.isoformat())


def were_listed(tx: Connection, *, since: datetime) -> bool:
    """Whether a clean list was made since then."""
    listed = read_metadata(tx, _LISTED)
    return listed is not None and datetime.fromisoformat(listed) >= since


def fetch_inbounds(ctx: Context, *, since: datetime) -> int | None:
    """Keep every text that Sinch lists since then; how many were new, None without a clean list."""
    started_at = ctx.now()
    try:
        found = ctx.sinch.list_inbounds(received_after=since, within_s=_LIST_S)
    except SinchError as e:
        logger.bind(reason=type(e).__name__).warning("sinch's list of inbounds cannot be read")
        return None
    # The oldest first, as they came.
    in_order = found[::-1]
    parts = range(0, len(in_order), _AT_ONCE)
    new = sum(_keep_listed(ctx, in_order[start : start + _AT_ONCE]) for start in parts)
    with ctx.db.write() as tx:
        set_metadata(tx, _LISTED, started_at.isoformat())
    if new:
        logger.bind(inbounds=new).info("texts were found in sinch's list")
    return new


def _keep_listed(ctx: Context, inbounds: Sequence[schemas.SinchInbound]) -> int:
    with ctx.db.write() as tx:
        lock_for_inbounds(tx, inbounds)
        noted = store_inbounds(tx, ctx, inbounds)
        append_consent_records(tx, ctx.subscriber_context, noted.said)
    return noted.new
