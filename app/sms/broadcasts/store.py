"""A client's order becomes a broadcast: stored before anybody is told that it was accepted.

In one transaction the order, its audience as asked for, and the client's Idempotency-Key; for an
audience that is sent to within the request also its batches and the first claim, so that one
commit comes before the POST and one after it.
"""

from collections.abc import Callable, Sequence
from dataclasses import astuple
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, insert

from app.db.base import table_of
from app.failpoints import failpoints
from app.ids import make_id
from app.sms.audience.chunks import Piece
from app.sms.audience.expand import find_pieces
from app.sms.audience.lookup import make_chunks
from app.sms.audience.plan import plan_chunks
from app.sms.broadcasts.duplicates import Suspect, find_repeat, refuse_repeat
from app.sms.broadcasts.idempotency import Key, keep_key
from app.sms.context import Context
from app.sms.dispatch.claim import Claim, Idle, claim_in
from app.sms.dispatch.drain import Accepted
from app.sms.lifecycle.finalize import settle_in
from app.sms.models.broadcast import Broadcast, Chunk
from app.sms.models.states import BroadcastStatus
from app.sms.request.model import (
    MAX_INLINE_RECIPIENTS,
    Order,
    choose_priority,
    collect_defaults,
    describe_audience,
    hash_text,
)

_BROADCASTS = table_of(Broadcast)
# Made once: to make a statement costs several times what it takes to run one.
_ADD_BROADCAST = insert(_BROADCASTS).returning(_BROADCASTS.c.id)
_ADD_CHUNKS = insert(table_of(Chunk))


def accept_broadcast(
    ctx: Context,
    order: Order,
    *,
    client: str,
    key: Key | None = None,
    describe: Callable[[str], dict[str, Any]] | None = None,
) -> Accepted:
    """Store an order; once this returns it is durable.

    `describe` makes the answer of a broadcast that goes on in the background, from its id; it is
    stored with the key.  Raises KeyTaken when another request came first with the same key,
    BroadcastRepeated when the same text has just gone to mostly the same people.
    """
    ctx.require_own_database()
    order, pieces = find_pieces(ctx, order)
    text_hash = hash_text(order, default_sender=ctx.default_sender)
    suspect = Suspect.of(order, pieces, client=client, text_hash=text_hash) if key is None else None
    cleared = find_repeat(ctx, suspect) if suspect else frozenset()
    inline = _can_be_sent_at_once(order, pieces)
    with ctx.db.write() as tx:
        if suspect:
            refuse_repeat(tx, ctx, suspect, cleared)
        public_id = make_id(ctx.now())
        broadcast_id = insert_broadcast(
            tx, ctx, order, client=client, public_id=public_id, text_hash=text_hash, pieces=pieces
        )
        if key is not None:
            answer = None if inline or describe is None else describe(public_id)
            keep_key(tx, ctx, key, client=client, broadcast_id=broadcast_id, answer=answer)
        first: Claim | Idle | None = None
        if inline:
            plan_chunks(tx, ctx, broadcast_id)
            first = claim_in(tx, ctx, of=broadcast_id)
            if isinstance(first, Idle):
                settle_in(tx, ctx, broadcast_id)  # nobody of it may be written to
        failpoints.reach("C0")
    failpoints.reach("C1")
    if isinstance(first, Claim):
        failpoints.reach("C3")
        failpoints.reach("C8")
    return Accepted(broadcast_id, public_id, first)


def _can_be_sent_at_once(order: Order, pieces: Sequence[Piece] | None) -> bool:
    """Whether an order is handed to Sinch within its request."""
    if pieces is None or order.send_at is not None:
        return False
    return sum(len(piece.recipients) for piece in pieces) <= MAX_INLINE_RECIPIENTS


def insert_broadcast(
    tx: Connection,
    ctx: Context,
    order: Order,
    *,
    client: str,
    public_id: str,
    text_hash: bytes,
    pieces: Sequence[Piece] | None,
    resend_of: int | None = None,
) -> int:
    """The id of a new broadcast, stored with its audience; without pieces that is to be found."""
    now, rules = ctx.now(), ctx.rules
    start = order.send_at or now
    default_end = start + timedelta(seconds=rules.expire_after_s)
    row = {
        "public_id": public_id,
        "client": client,
        "created_at": now,
        "text": order.text,
        "text_hash": text_hash,
        "sender": order.sender or ctx.default_sender,
        "category": order.category,
        "priority": order.priority or choose_priority(order.category, len(order.recipients)),
        "reference": order.reference,
        "options": _collect_options(order),
        "encoding": order.size.encoding.value,
        "parts": order.size.parts,
        "send_at": order.send_at,
        "expires_at": order.expire_at or default_end,
        "status": BroadcastStatus.SCHEDULED if order.send_at else BroadcastStatus.QUEUED,
        "recipients": sum(len(piece.recipients) for piece in pieces or ()),
        "invalid": len(order.invalid),
        "duplicates": order.duplicates_removed,
        "planned": 0,
        "chunks": len(pieces or ()),
        "audience": describe_audience(order),
        "tag": order.tag,
        "resolving": pieces is None,
        "texts": dict(order.texts) or None,
        "resend_of": resend_of,
    }
    broadcast_id: int = tx.execute(_ADD_BROADCAST, row).scalar_one()
    if pieces:
        tx.execute(_ADD_CHUNKS, list(make_chunks(broadcast_id, pieces)))
    return broadcast_id


def _collect_options(order: Order) -> dict[str, Any]:
    options: dict[str, Any] = {
        "delivery_report": order.delivery_report.value if order.delivery_report else None,
        "flash": order.flash or None,
        "max_parts": order.max_parts,
        "defaults": collect_defaults(order) or None,
        "language": order.language,
        "template": astuple(order.template) if order.template else None,
        "reply": order.reply,
    }
    return {name: value for name, value in options.items() if value is not None}
