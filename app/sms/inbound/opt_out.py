"""Opt-out and opt-in by text: apply the intent of an inbound.

| intent | effect | reply |
|---|---|---|
| STOP | the number is suppressed; an objection in the ledger | if it was not suppressed before |
| maybe STOP | the same, marked `needs_review` | none |
| START, within a day | one by text or carrier is lifted; an agreement | if one was lifted |
| YES | the tags that wait for it are confirmed; an agreement for each | if there were any |
| HELP | none | once an hour |

A STOP takes effect in the commit that stores its callback (`suppress_at_once`).  Everything else
follows when the callback is applied (`apply_inbound`), in the transaction that stores the inbound.
Both lock suppressions exclusively before any other lock.  The caller of `apply_inbound` appends the
consent records that it returns at the end: the ledger is locked last.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, bindparam, select

from app.db.base import table_of
from app.db.prepared import Prepared, chunked
from app.keywords.classify import KeywordIntent
from app.sinch.callbacks import UnreadableCallback, parse_callback
from app.sinch.schemas import SinchInbound
from app.sms.context import Context
from app.sms.inbound.auto_reply import reply_once
from app.sms.inbound.intent import PERSON, InboundIntent, find_intent
from app.sms.inbound.reply_texts import Reply
from app.sms.models import reports
from app.subscribers.consent.ledger import ConsentEntry
from app.subscribers.models import Cause, ConsentKind, Subscriber
from app.subscribers.suppressions.store import (
    SuppressionRequest,
    WrongKey,
    lock_suppressions_exclusive,
    read_suppressions,
    release,
    suppress_many,
)
from app.subscribers.tags.assignments import confirm_tags

# An older START may be from before a STOP that reached us by other ways.
_START_WITHIN = timedelta(days=1)
# A report has none of them in its type: a mark of inbounds, an escaped letter, another encoding.
_MARKS = (b"mo_", b"\\", b"\0")
_STOPS = (KeywordIntent.STOP, KeywordIntent.MAYBE_STOP)
_BY_THE_PERSON = (Cause.STOP, Cause.CARRIER)

_SUBSCRIBERS, _INBOUNDS = table_of(Subscriber), table_of(reports.Inbound)
# Locked, since tags and the time of consent are changed after it.
_LOCK_SUBSCRIBER = Prepared(
    select(_SUBSCRIBERS.c.language)
    .where(_SUBSCRIBERS.c.phone == bindparam("phone"))
    .with_for_update(key_share=True)
)
_KNOWN = Prepared(
    select(_INBOUNDS.c.sinch_id).where(
        _INBOUNDS.c.sinch_id.in_(bindparam("sinch_ids", expanding=True))
    )
)


def lock_for_inbounds(tx: Connection, ctx: Context, inbounds: Iterable[SinchInbound]) -> None:
    """Lock suppressions exclusively if an inbound has an intent.

    Call it before any other lock but that of the counters.
    """
    if any(find_intent(inbound, ctx.now()) for inbound in inbounds):
        lock_suppressions_exclusive(tx)


def apply_inbound(tx: Connection, ctx: Context, inbound: SinchInbound) -> list[ConsentEntry]:
    """Apply the intent of a new inbound.

    Returns the consent records that the caller appends.  Raises WrongKey.
    """
    intent = find_intent(inbound, ctx.now())
    if intent is None:
        return []
    row = _LOCK_SUBSCRIBER.first(tx, {"phone": intent.phone})
    if row is not None:
        intent = replace(intent, language=row.language, is_subscriber=True)
    match intent.match.intent:
        case KeywordIntent.START:
            return _start(tx, ctx, intent)
        case KeywordIntent.YES:
            return _confirm(tx, ctx, intent)
        case KeywordIntent.HELP:
            reply_once(tx, ctx, intent, Reply.HELP)
            return []
        case _:
            return _stop(tx, ctx, intent)


def suppress_at_once(tx: Connection, ctx: Context, raws: Sequence[bytes]) -> None:
    """Suppress the numbers that sent a STOP, in the commit that stores these callbacks.

    The callbacks are applied later as well.  A callback that cannot be read is left to that.
    """
    stops = [stop for raw in raws if _may_be_inbound(raw) and (stop := _read_stop(ctx, raw))]
    if not stops:
        return
    lock_suppressions_exclusive(tx)
    known = _find_known(tx, [stop.inbound.id for stop in stops])
    try:
        for stop in stops:
            if stop.inbound.id not in known:
                _suppress(tx, ctx, stop)
    except WrongKey as e:
        # Nothing is sent under this key: the STOP is applied under the right one.
        logger.bind(reason=str(e)).error("a STOP could not be applied at once")


def _may_be_inbound(raw: bytes) -> bool:
    """Return False for a plain report, which need not be parsed here."""
    lowered = raw.lower()
    return any(mark in lowered for mark in _MARKS)


def _read_stop(ctx: Context, raw: bytes) -> InboundIntent | None:
    """Return the STOP of a callback, or None.  Never raises: the callback has to be stored."""
    try:
        callback = parse_callback(raw)
        intent = find_intent(callback, ctx.now()) if isinstance(callback, SinchInbound) else None
    except UnreadableCallback:
        return None
    except Exception as e:
        logger.opt(exception=e).error("a text could not be read before it was stored")
        return None
    return intent if intent and intent.match.intent in _STOPS else None


def _find_known(tx: Connection, sinch_ids: Sequence[str]) -> set[str]:
    known = set[str]()
    for chunk in chunked(sinch_ids):
        known.update(row.sinch_id for row in _KNOWN.fetch(tx, {"sinch_ids": chunk}))
    return known


def _suppress(tx: Connection, ctx: Context, intent: InboundIntent) -> None:
    request = SuppressionRequest(
        cause=Cause.STOP,
        actor=PERSON,
        at=intent.at,
        inbound=intent.inbound.id,
        needs_review=intent.match.intent is KeywordIntent.MAYBE_STOP,
    )
    suppress_many(tx, ctx.subscriber_context, [intent.phone], request)


def _stop(tx: Connection, ctx: Context, intent: InboundIntent) -> list[ConsentEntry]:
    _suppress(tx, ctx, intent)
    found = _read_suppression(tx, ctx, intent.phone)
    if found is None or not found.active:
        return []  # released since: this text comes late
    # The suppression has the id of the inbound that caused it, at once or just now.
    if found.inbound == intent.inbound.id and not found.needs_review:
        reply_once(tx, ctx, intent, Reply.STOP)
    return [intent.make_record(ConsentKind.OPT_OUT)]


def _start(tx: Connection, ctx: Context, intent: InboundIntent) -> list[ConsentEntry]:
    if ctx.now() - intent.at > _START_WITHIN:
        return []
    before = _read_suppression(tx, ctx, intent.phone)
    released = release(
        tx, ctx.subscriber_context, intent.phone, at=intent.at, actor=PERSON, by_phone=True
    )
    if released:
        reply_once(tx, ctx, intent, Reply.START)
    elif before is not None and before.active:
        return []
    lifts_own = released and before is not None and before.cause in _BY_THE_PERSON
    return [intent.make_record(ConsentKind.OPT_IN)] if lifts_own or intent.is_subscriber else []


def _confirm(tx: Connection, ctx: Context, intent: InboundIntent) -> list[ConsentEntry]:
    tags = confirm_tags(tx, ctx.subscriber_context, intent.phone, intent.at)
    found = _read_suppression(tx, ctx, intent.phone) if tags else None
    if tags and not (found and found.active):
        reply_once(tx, ctx, intent, Reply.CONFIRMED)
    return [intent.make_record(ConsentKind.CONFIRMED, tag) for tag in tags]


def _read_suppression(tx: Connection, ctx: Context, phone: str) -> Row[Any] | None:
    return read_suppressions(tx, ctx.subscriber_context, [phone]).get(phone)
