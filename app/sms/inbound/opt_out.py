"""What a text from a phone changes: who is written to, what is on record, what is answered.

| heard | changes | is answered |
|---|---|---|
| STOP | the number is suppressed; an objection in the ledger | when it was not suppressed before |
| perhaps STOP | the same, to be looked at by somebody | not |
| START, within a day | what text or carrier asked for is lifted; an agreement | when lifted |
| YES | the tags that wait for it are confirmed | when there were such |
| HELP | nothing | once an hour |

A STOP takes effect in the commit that stores its callback (`suppress_at_once`); all else follows
when the callback is applied (`hear`), in the transaction that keeps the text.  Both hold
suppressions for the change before they lock anything else, and whoever calls `hear` writes what it
gives into the ledger at the end: the ledger is locked last.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from loguru import logger
from sqlalchemy import Connection, bindparam, select

from app.db.base import table_of
from app.keywords.classify import classify_keyword
from app.keywords.intent import KeywordIntent, KeywordMatch
from app.phone.e164 import normalise_number
from app.sinch.callbacks import UnreadableCallback, parse_callback
from app.sinch.schemas import SinchInbound
from app.sms.context import Context
from app.sms.inbound.auto_reply import TextToAnswer, reply_once
from app.sms.inbound.reply_texts import Reply, is_own_reply
from app.sms.models import reports
from app.subscribers.consent.ledger import ConsentRecord
from app.subscribers.models import Cause, ConsentKind, Subscriber
from app.subscribers.suppressions.hash_key import WrongKey
from app.subscribers.suppressions.store import (
    Suppressed,
    lock_suppressions_exclusive,
    read_suppressions,
    release,
    suppress,
)
from app.subscribers.tags.assignments import confirm_tags

# An older START may be from before a STOP that somebody passed on by other ways.
_START_WITHIN = timedelta(days=1)
_PERSON = "phone"
_TEXT = "mo_text"
_TEXT_MARK = b'"mo_text"'
_STOPS = (KeywordIntent.STOP, KeywordIntent.MAYBE_STOP)
_WITH_EFFECT = (*_STOPS, KeywordIntent.START, KeywordIntent.YES, KeywordIntent.HELP)
_BY_THE_PERSON = (Cause.STOP, Cause.CARRIER)
_MOST_AT_ONCE = 1_000

_SUBSCRIBERS, _INBOUNDS = table_of(Subscriber), table_of(reports.Inbound)
# Made once: to make a statement costs several times what it takes to run one.
# Held, since tags and the day of consent are changed behind it.
_HOLD_SUBSCRIBER = (
    select(_SUBSCRIBERS.c.language)
    .where(_SUBSCRIBERS.c.phone == bindparam("who"))
    .with_for_update(key_share=True)
)
_KNOWN = select(_INBOUNDS.c.sinch_id).where(
    _INBOUNDS.c.sinch_id.in_(bindparam("these", expanding=True))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A text that asks for something: who, when, where, in which words."""

    phone: str
    at: datetime
    heard: KeywordMatch
    inbound: SinchInbound
    language: str | None = None
    is_subscriber: bool = False

    def say(self, kind: ConsentKind, tag: str | None = None) -> ConsentRecord:
        """What the ledger says of it."""
        return ConsentRecord(
            kind=kind,
            phone=self.phone,
            at=self.at,
            channel="sms",
            actor=_PERSON,
            source=f"text {self.inbound.id}",
            wording=self.inbound.body,
            tag=tag,
        )


def lock_for_inbounds(tx: Connection, inbounds: Iterable[SinchInbound]) -> None:
    """Hold suppressions for the change when one of these may bring one about.

    Before any other lock but that of the books.
    """
    if any(map(_may_change, inbounds)):
        lock_suppressions_exclusive(tx)


def apply_inbound(tx: Connection, ctx: Context, inbound: SinchInbound) -> list[ConsentRecord]:
    """Do what a new text asks for; what the ledger is to say of it.  Raises WrongKey."""
    asked = _understand(ctx, inbound)
    if asked is None:
        return []
    row = tx.execute(_HOLD_SUBSCRIBER, {"who": asked.phone}).first()
    if row is not None:
        asked = replace(asked, language=row.language, is_subscriber=True)
    intent = asked.heard.intent
    if intent in _STOPS:
        return _stop(tx, ctx, asked)
    if intent is KeywordIntent.START:
        return _start(tx, ctx, asked)
    if intent is KeywordIntent.YES:
        return _confirm(tx, ctx, asked)
    reply_once(tx, ctx, _question(asked), Reply.HELP)
    return []


def suppress_at_once(tx: Connection, ctx: Context, raws: Sequence[bytes]) -> None:
    """Let what these callbacks ask to stop be stopped by the commit that stores them.

    They are applied later all the same.  What cannot be read is left to that.
    """
    asked = [each for raw in raws if _TEXT_MARK in raw and (each := _read_stop(ctx, raw))]
    if not asked:
        return
    lock_suppressions_exclusive(tx)
    known = _find_known(tx, [each.inbound.id for each in asked])
    try:
        for each in asked:
            if each.inbound.id not in known:
                _suppress(tx, ctx, each)
    except WrongKey as e:
        # Nothing is sent under this key: the text waits until it is applied under the right one.
        logger.bind(reason=str(e)).error("a STOP could not be noted at once")


def _understand(ctx: Context, inbound: SinchInbound) -> _Asked | None:
    """What a text asks for; None for nothing that changes anything."""
    phone = normalise_number(inbound.sender)
    if phone is None or inbound.kind != _TEXT or is_own_reply(inbound.body):
        return None
    heard = classify_keyword(inbound.body)
    if heard.intent not in _WITH_EFFECT:
        return None
    now = ctx.now()
    at = min(inbound.received_at or now, now)
    return _Asked(phone=phone, at=at, heard=heard, inbound=inbound)


def _may_change(inbound: SinchInbound) -> bool:
    return inbound.kind == _TEXT and classify_keyword(inbound.body).intent in _WITH_EFFECT


def _read_stop(ctx: Context, raw: bytes) -> _Asked | None:
    """The STOP that a callback brings, if it does; nothing in one may keep it from being stored."""
    try:
        said = parse_callback(raw)
        asked = _understand(ctx, said) if isinstance(said, SinchInbound) else None
    except UnreadableCallback:
        return None
    except Exception as e:
        logger.opt(exception=e).error("a text could not be looked at before it was stored")
        return None
    return asked if asked and asked.heard.intent in _STOPS else None


def _find_known(tx: Connection, ids: Sequence[str]) -> set[str]:
    known = set[str]()
    for start in range(0, len(ids), _MOST_AT_ONCE):
        these = list(ids[start : start + _MOST_AT_ONCE])
        known.update(tx.execute(_KNOWN, {"these": these}).scalars())
    return known


def _suppress(tx: Connection, ctx: Context, asked: _Asked) -> None:
    suppress(
        tx,
        ctx.subscriber_context,
        asked.phone,
        cause=Cause.STOP,
        actor=_PERSON,
        at=asked.at,
        inbound=asked.inbound.id,
        needs_review=asked.heard.intent is KeywordIntent.MAYBE_STOP,
    )


def _stop(tx: Connection, ctx: Context, asked: _Asked) -> list[ConsentRecord]:
    _suppress(tx, ctx, asked)
    found = _read_suppression(tx, ctx, asked.phone)
    if found is None or not found.active:
        return []  # lifted since: this text comes late
    # Its id stands there when it was this text that suppressed the number, at once or just now.
    if found.inbound == asked.inbound.id and not found.needs_review:
        reply_once(tx, ctx, _question(asked), Reply.STOP)
    return [asked.say(ConsentKind.OPT_OUT)]


def _start(tx: Connection, ctx: Context, asked: _Asked) -> list[ConsentRecord]:
    if ctx.now() - asked.at > _START_WITHIN:
        return []
    before = _read_suppression(tx, ctx, asked.phone)
    released = release(
        tx, ctx.subscriber_context, asked.phone, at=asked.at, actor=_PERSON, by_phone=True
    )
    if released:
        reply_once(tx, ctx, _question(asked), Reply.START)
    elif before is not None and before.active:
        return []
    asked_for_it = released and before is not None and before.cause in _BY_THE_PERSON
    return [asked.say(ConsentKind.OPT_IN)] if asked_for_it or asked.is_subscriber else []


def _confirm(tx: Connection, ctx: Context, asked: _Asked) -> list[ConsentRecord]:
    tags = confirm_tags(tx, ctx.subscriber_context, asked.phone, asked.at)
    found = _read_suppression(tx, ctx, asked.phone) if tags else None
    if tags and not (found and found.active):
        reply_once(tx, ctx, _question(asked), Reply.CONFIRMED)
    return [asked.say(ConsentKind.CONFIRMED, tag) for tag in tags]


def _read_suppression(tx: Connection, ctx: Context, phone: str) -> Suppressed | None:
    return read_suppressions(tx, ctx.subscriber_context, [phone]).get(phone)


def _question(asked: _Asked) -> TextToAnswer:
    return TextToAnswer(
        phone=asked.phone,
        at=asked.at,
        our_number=asked.inbound.recipient,
        languages=(asked.heard.language, asked.language),
    )
