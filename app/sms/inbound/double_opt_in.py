"""Whoever was given a tag with a double opt-in is asked, once, whether they want it.

By day by their own clock, from the number that takes the answer, and never somebody who is
suppressed.  One text asks for all tags that somebody waits to confirm; a YES confirms them.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from loguru import logger
from sqlalchemy import Connection

from app.db.facts import read_metadata, set_metadata
from app.phone.e164 import can_be_answered
from app.sms.context import Context
from app.sms.eligibility.quiet_hours import find_window, locate_phone
from app.sms.inbound.auto_reply import REPLY_CLIENT, store_own
from app.sms.inbound.reply_texts import choose_question
from app.sms.lifecycle.gates import read_gates
from app.sms.request.model import BroadcastRequest
from app.subscribers.consent import ledger
from app.subscribers.models import ConsentKind
from app.subscribers.suppressions.store import find_suppressed, lock_suppressions_shared
from app.subscribers.tags.assignments import (
    Waiting,
    find_unrequested_opt_ins,
    has_unrequested_opt_in,
    mark_opt_in_requested,
)
from app.text.segments import measure_text

# So many tags of people are looked at in one transaction.
_PAGE = 1_000
_PASS_S = 2.0
# Behind whom the next pass goes on: those whose night it is must not keep the others waiting.
_REACHED_FACT = "asked_up_to"


@dataclass(frozen=True, slots=True)
class _Asked:
    """Somebody who is asked now, and until when their day lasts."""

    waiting: Waiting
    until: datetime


def request_confirmations(ctx: Context) -> int:
    """Ask for what nobody was asked about yet, for a few seconds; how many people were asked."""
    if not can_be_answered(ctx.default_sender):
        return 0
    with ctx.db.read() as tx:
        if (
            not has_unrequested_opt_in(tx)
            or read_gates(tx, ctx.rules, ctx.now()).restoring_since is not None
        ):
            return 0
    count, more, began = 0, True, ctx.clock.monotonic()
    while more and ctx.clock.monotonic() - began < _PASS_S:
        asked, more = _ask_some(ctx)
        count += asked
    if count:
        logger.bind(people=count).info("people were asked to confirm")
    return count


def _ask_some(ctx: Context) -> tuple[int, bool]:
    """How many of a page of people were asked, and whether there is another page."""
    with ctx.db.write() as tx:
        lock_suppressions_shared(tx)
        after = int(read_metadata(tx, _REACHED_FACT) or 0)
        page = find_unrequested_opt_ins(tx, after=after, most=_PAGE)
        groups = defaultdict[str, list[_Asked]](list)
        for asked in _choose(tx, ctx, page.subscribers):
            language = asked.waiting.language
            groups[choose_question(language, ctx.subscriber_rules.default_language)].append(asked)
        for text, group in groups.items():
            _ask(tx, ctx, text, group)
        set_metadata(tx, _REACHED_FACT, str(page.reached if page.more else 0))
    return sum(map(len, groups.values())), page.more


def _choose(tx: Connection, ctx: Context, people: Sequence[Waiting]) -> list[_Asked]:
    """Those who may be asked now."""
    now, rules = ctx.now(), ctx.subscriber_rules
    phones = [each.phone for each in people]
    suppressed = find_suppressed(tx, ctx.subscriber_context, phones, marketing=True)
    chosen = []
    for each in people:
        zones, country = locate_phone(each.phone, each.time_zone, rules)
        window = find_window(zones, country, now, rules)
        if each.phone not in suppressed and window is not None and window.opens_at <= now:
            chosen.append(_Asked(each, window.closes_at))
    return chosen


def _ask(tx: Connection, ctx: Context, text: str, group: Sequence[_Asked]) -> None:
    """Store one text to people, in place of a question to each."""
    now = ctx.now()
    phones = [each.waiting.phone for each in group]
    request = BroadcastRequest(
        recipients=phones,
        text=text,
        size=measure_text(text),
        expire_at=min(each.until for each in group),
        allow_duplicate=True,
    )
    public_id = store_own(tx, ctx, request)
    mark_opt_in_requested(tx, [each.waiting for each in group], at=now)
    ledger.append_consents(
        tx,
        ctx.subscriber_context,
        ConsentKind.ASKED,
        [
            (each.waiting.phone, now, public_id, text, name)
            for each in group
            for name in each.waiting.tags.values()
        ],
        actor=REPLY_CLIENT,
        channel="sms",
    )
