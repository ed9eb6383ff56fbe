"""Automatic replies to inbounds, stored in the transaction that applies the inbound.

A reply is a broadcast to one number, sent from the number that was texted, within an hour or
never.  There is no reply to our own numbers, to a number that got 5 replies in 24 hours, or where
the network answers itself.
"""

import re
from datetime import timedelta

from sqlalchemy import Connection, bindparam, literal_column, select

from app.config.keys import OWN_CLIENT
from app.db.base import table_of
from app.db.prepared import Prepared
from app.db.types import UtcTime
from app.phone.e164 import normalise_number
from app.sms.audience.chunks import AudienceChunk
from app.sms.audience.plan import plan_chunks
from app.sms.broadcasts.store import insert_broadcast, make_row
from app.sms.context import Context
from app.sms.inbound.intent import InboundIntent
from app.sms.inbound.reply_texts import Reply, choose_reply
from app.sms.lifecycle.gates import read_gates
from app.sms.models.broadcast import Broadcast, Chunk
from app.sms.request.model import BroadcastRequest
from app.text.segments import measure_text

_LIFE = timedelta(hours=1)
# A reply to an older text would come out of nowhere.
_FRESH = timedelta(hours=1)
_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)
_MAX_PER_DAY = 5
# Ahead of all broadcasts of clients.
_PRIORITY = 9
# Toll-free numbers of the USA and Canada: the network answers STOP and START.
_TOLL_FREE = re.compile(r"\+1(?:800|833|844|855|866|877|888)[0-9]{7}")
_BY_THE_NETWORK = (Reply.STOP, Reply.START)

_BROADCASTS, _CHUNKS = table_of(Broadcast), table_of(Chunk)
_RECENT = Prepared(
    select(_BROADCASTS.c.created_at, _BROADCASTS.c.options)
    .join(_CHUNKS, _CHUNKS.c.broadcast_id == _BROADCASTS.c.id)
    # A literal, as in the index: with a parameter the index is not used.
    .where(_CHUNKS.c.size == literal_column("1"), _CHUNKS.c.recipients == bindparam("phone"))
    .where(_BROADCASTS.c.client == OWN_CLIENT)
    .where(_BROADCASTS.c.created_at > bindparam("since", type_=UtcTime()))
)


def reply_once(tx: Connection, ctx: Context, intent: InboundIntent, reply: Reply) -> None:
    """Store a reply within the limits."""
    if not _may_reply(ctx, intent, reply) or _is_old(tx, ctx, intent):
        return
    rows = _RECENT.fetch(tx, {"phone": intent.phone, "since": ctx.now() - _DAY})
    recent = [row for row in rows if row.options.get("reply")]
    latest = [row.options["reply"] for row in recent if row.created_at > ctx.now() - _HOUR]
    if len(recent) < _MAX_PER_DAY and not (reply is Reply.HELP and reply in latest):
        store_own(tx, ctx, _make_reply(ctx, intent, reply))


def _may_reply(ctx: Context, intent: InboundIntent, reply: Reply) -> bool:
    ours = normalise_number(intent.inbound.recipient)
    if ours is None or not ctx.subscriber_rules.opt_out_replies:
        return False
    if intent.phone in (ours, ctx.default_sender):
        return False
    return not (reply in _BY_THE_NETWORK and _TOLL_FREE.fullmatch(ours))


def _is_old(tx: Connection, ctx: Context, intent: InboundIntent) -> bool:
    """Return True if a text is an hour old, or may have got its reply before a restore."""
    now = ctx.now()
    restoring_since = read_gates(tx, ctx.rules, now).restoring_since
    return now - intent.at > _FRESH or (
        restoring_since is not None and intent.at <= restoring_since
    )


def store_own(tx: Connection, ctx: Context, request: BroadcastRequest) -> str:
    """Store a broadcast of ours, ready to be sent.  Returns its public id."""
    chunks = [AudienceChunk(sorted(request.recipients))]
    row = make_row(ctx, request, chunks, client=OWN_CLIENT)
    plan_chunks(tx, ctx, insert_broadcast(tx, row, chunks))
    return str(row["public_id"])


def _make_reply(ctx: Context, intent: InboundIntent, reply: Reply) -> BroadcastRequest:
    """Return the request of the broadcast that is the reply."""
    own = ctx.subscriber_rules.help_text if reply is Reply.HELP else None
    languages = (intent.match.language, intent.language)
    body = own or choose_reply(reply, *languages, ctx.subscriber_rules.default_language)
    return BroadcastRequest(
        recipients=[intent.phone],
        text=body,
        size=measure_text(body),
        sender=intent.inbound.recipient,
        expire_at=ctx.now() + _LIFE,
        priority=_PRIORITY,
        allow_duplicate=True,
        reply=reply.value,
    )
