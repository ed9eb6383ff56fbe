"""The double opt-in question: one text to a subscriber whose tags wait to be confirmed.

The question goes once, in the daytime of the subscriber, from the number that takes the answer, and
never to a suppressed number.  One question is for all tags of a subscriber; a YES confirms them.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from loguru import logger
from sqlalchemy import Connection

from app.config.keys import OWN_CLIENT
from app.db.facts import read_metadata, set_metadata
from app.phone.e164 import can_be_answered
from app.sms.context import Context
from app.sms.eligibility.quiet_hours import find_window, locate_phone
from app.sms.inbound.auto_reply import store_own
from app.sms.inbound.reply_texts import Reply, choose_reply
from app.sms.lifecycle.gates import read_gates
from app.sms.request.model import BroadcastRequest
from app.subscribers.consent.ledger import ConsentEntry, append_consent_entries
from app.subscribers.models import ConsentKind
from app.subscribers.suppressions.store import find_suppressed, lock_suppressions_shared
from app.subscribers.tags.assignments import (
    PendingOptIn,
    find_unrequested_opt_ins,
    has_unrequested_opt_in,
    mark_opt_in_requested,
)
from app.text.segments import measure_text

# Tags of subscribers that are read in one transaction.
_PAGE = 1_000
_PASS_S = 2.0
# Where the next pass continues: subscribers whose night it is must not block the others.
_REACHED_KEY = "asked_up_to"


# A subscriber who gets the question now, and the end of their daytime.
_Recipient = tuple[PendingOptIn, datetime]


def request_confirmations(ctx: Context) -> int:
    """Send the questions that are due, for a few seconds.  Returns the number of subscribers."""
    if not can_be_answered(ctx.default_sender):
        return 0
    with ctx.db.read() as tx:
        if (
            not has_unrequested_opt_in(tx)
            or read_gates(tx, ctx.rules, ctx.now()).restoring_since is not None
        ):
            return 0
    count, more, started_s = 0, True, ctx.clock.monotonic()
    while more and ctx.clock.monotonic() - started_s < _PASS_S:
        sent, more = _ask_page(ctx)
        count += sent
    if count:
        logger.bind(subscribers=count).info("double opt-in questions stored")
    return count


def _ask_page(ctx: Context) -> tuple[int, bool]:
    """Store the questions of one page.  Returns their number, and True if there is another page."""
    with ctx.db.write() as tx:
        lock_suppressions_shared(tx)
        after = int(read_metadata(tx, _REACHED_KEY) or 0)
        page = find_unrequested_opt_ins(tx, after=after, limit=_PAGE)
        groups = defaultdict[str, list[_Recipient]](list)
        for recipient in _choose(tx, ctx, page.opt_ins):
            default = ctx.subscriber_rules.default_language
            text = choose_reply(Reply.QUESTION, recipient[0].language, default)
            groups[text].append(recipient)
        for text, group in groups.items():
            _store_question(tx, ctx, text, group)
        set_metadata(tx, _REACHED_KEY, str(page.last_id if page.more else 0))
    return sum(map(len, groups.values())), page.more


def _choose(tx: Connection, ctx: Context, subscribers: Sequence[PendingOptIn]) -> list[_Recipient]:
    """Return the subscribers who may get the question now."""
    now, rules = ctx.now(), ctx.subscriber_rules
    phones = [subscriber.phone for subscriber in subscribers]
    suppressed = find_suppressed(tx, ctx.subscriber_context, phones, marketing=True)
    chosen = []
    for subscriber in subscribers:
        zones, country = locate_phone(subscriber.phone, subscriber.time_zone, rules)
        window = find_window(zones, country, now, rules)
        if subscriber.phone not in suppressed and window is not None and window.opens_at <= now:
            chosen.append((subscriber, window.closes_at))
    return chosen


def _store_question(tx: Connection, ctx: Context, text: str, group: Sequence[_Recipient]) -> None:
    """Store one broadcast with the question to these subscribers."""
    now = ctx.now()
    subscribers = [subscriber for subscriber, _ in group]
    phones = [subscriber.phone for subscriber in subscribers]
    request = BroadcastRequest(
        recipients=phones,
        text=text,
        size=measure_text(text),
        expire_at=min(closes_at for _, closes_at in group),
        allow_duplicate=True,
    )
    public_id = store_own(tx, ctx, request)
    mark_opt_in_requested(tx, subscribers, at=now)
    entries = [
        ConsentEntry(
            ConsentKind.ASKED, subscriber.phone, now, "sms", OWN_CLIENT, public_id, text, tag
        )
        for subscriber in subscribers
        for tag in subscriber.tags.values()
    ]
    append_consent_entries(tx, entries)
