"""The one answer to a person's own text, stored with what it answers.

It goes out like any other broadcast, to one, from the number that was texted, and within the hour
or never.  Nothing of ours is answered, nobody gets more than a few a day, and a number that the
network itself answers for stays silent.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, literal_column, select

from app.db.base import table_of
from app.db.types import UtcTime
from app.ids import make_id
from app.phone.e164 import normalise_number
from app.sms.audience.chunks import AudienceChunk
from app.sms.audience.plan import plan_chunks
from app.sms.broadcasts.store import insert_broadcast
from app.sms.context import Context
from app.sms.inbound.reply_texts import Reply, choose_reply
from app.sms.lifecycle.gates import read_gates
from app.sms.models.broadcast import Broadcast, Chunk
from app.sms.request.model import BroadcastRequest, hash_text
from app.text.segments import measure_text

# Under this name our own answers are sent, beside those of the clients.
REPLY_CLIENT = "clarion"
_LIFE = timedelta(hours=1)
# To an older text an answer would come out of nowhere.
_FRESH = timedelta(hours=1)
_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)
_MOST_A_DAY = 5
# Before all that clients send.
_PRIORITY = 9
# Of these, in the USA and Canada, the network takes STOP and START, and answers them.
_TOLL_FREE = re.compile(r"\+1(?:800|833|844|855|866|877|888)[0-9]{7}")
_OF_THE_NETWORK = (Reply.STOP, Reply.START)

_BROADCASTS, _CHUNKS = table_of(Broadcast), table_of(Chunk)
# Made once: to make a statement costs several times what it takes to run one.
_LATELY = (
    select(_BROADCASTS.c.created_at, _BROADCASTS.c.options)
    .join(_CHUNKS, _CHUNKS.c.broadcast_id == _BROADCASTS.c.id)
    # As its index has it: a parameter would not be seen to be the same.
    .where(_CHUNKS.c.size == literal_column("1"), _CHUNKS.c.recipients == bindparam("who"))
    .where(_BROADCASTS.c.client == REPLY_CLIENT)
    .where(_BROADCASTS.c.created_at > bindparam("since", type_=UtcTime()))
)


@dataclass(frozen=True, slots=True)
class TextToAnswer:
    """Whose text is answered, of when, to which number of ours, in the first of these languages
    that we have."""

    phone: str
    at: datetime
    our_number: str
    languages: Sequence[str | None]


def reply_once(tx: Connection, ctx: Context, question: TextToAnswer, reply: Reply) -> bool:
    """Store an answer, unless it would be one too many; whether it was stored."""
    if not _may_reply(ctx, question, reply) or _is_old(tx, ctx, question):
        return False
    lately = [row for row in _find_lately(tx, ctx, question.phone) if row.options.get("reply")]
    if len(lately) >= _MOST_A_DAY:
        return False
    if reply is Reply.HELP and _had_help(ctx, lately):
        return False
    store_own(tx, ctx, make_reply(ctx, question, reply))
    return True


def _may_reply(ctx: Context, question: TextToAnswer, reply: Reply) -> bool:
    ours = normalise_number(question.our_number)
    if ours is None or not ctx.subscriber_rules.opt_out_replies:
        return False
    if question.phone in (ours, ctx.default_sender):
        return False
    return not (reply in _OF_THE_NETWORK and _TOLL_FREE.fullmatch(ours))


def _is_old(tx: Connection, ctx: Context, question: TextToAnswer) -> bool:
    """Whether a text is of some time ago, or may have been answered before a restore."""
    now = ctx.now()
    restoring_since = read_gates(tx, ctx.rules, now).restoring_since
    return now - question.at > _FRESH or (
        restoring_since is not None and question.at <= restoring_since
    )


def _find_lately(tx: Connection, ctx: Context, phone: str) -> list[Row[Any]]:
    return list(tx.execute(_LATELY, {"who": phone, "since": ctx.now() - _DAY}))


def _had_help(ctx: Context, lately: Sequence[Row[Any]]) -> bool:
    since = ctx.now() - _HOUR
    return any(row.options["reply"] == Reply.HELP and row.created_at > since for row in lately)


def store_own(tx: Connection, ctx: Context, request: BroadcastRequest) -> str:
    """Store a broadcast of ours to a few people, ready to be sent; its id for clients."""
    public_id = make_id(ctx.now())
    broadcast_id = insert_broadcast(
        tx,
        ctx,
        request,
        client=REPLY_CLIENT,
        public_id=public_id,
        text_hash=hash_text(request, default_sender=ctx.default_sender),
        chunks=[AudienceChunk(sorted(request.recipients))],
    )
    plan_chunks(tx, ctx, broadcast_id)
    return public_id


def make_reply(ctx: Context, question: TextToAnswer, reply: Reply) -> BroadcastRequest:
    """The answer as a broadcast to one."""
    own = ctx.subscriber_rules.help_text if reply is Reply.HELP else None
    text = own or choose_reply(reply, *question.languages, ctx.subscriber_rules.default_language)
    return BroadcastRequest(
        recipients=[question.phone],
        text=text,
        size=measure_text(text),
        sender=question.our_number,
        expire_at=ctx.now() + _LIFE,
        priority=_PRIORITY,
        allow_duplicate=True,
        reply=reply.value,
    )
