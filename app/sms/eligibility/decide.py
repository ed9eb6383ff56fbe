"""Who of a batch is not sent to, or not now: asked in the transaction that claims it.

suppressed      never, whatever the broadcast is for
no consent, inactive, over the cap    never, of marketing
quiet           of marketing, at the next opening of the recipient's own day

Answers to a person's own text, such as the one to STOP, are held back by nothing.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select

from app.db.base import table_of
from app.db.lists import THESE, pack
from app.phone.pseudonym import is_pseudonym
from app.sms.context import Context
from app.sms.eligibility.frequency_cap import CAP_PERIOD
from app.sms.eligibility.quiet_hours import Window, find_window, place
from app.sms.models.batch import Batch, MarketingSend
from app.sms.models.states import BatchState, Category, ExclusionReason
from app.subscribers.models import Subscriber
from app.subscribers.suppressions.store import find_suppressed

_S = BatchState
# From which a text may have reached somebody.
_PERHAPS_SENT = (
    _S.SENDING,
    _S.ACCEPTED,
    _S.DUPLICATE,
    _S.UNKNOWN,
    _S.NEEDS_ATTENTION,
    _S.CLOSED_UNSENT,
)

_SENDS, _BATCHES, _SUBSCRIBERS = table_of(MarketingSend), table_of(Batch), table_of(Subscriber)
# Made once: to make a statement costs several times what it takes to run one.
_KNOWN = {
    dialect: select(
        _SUBSCRIBERS.c.phone,
        _SUBSCRIBERS.c.active,
        _SUBSCRIBERS.c.consented_at.is_not(None),
        _SUBSCRIBERS.c.time_zone,
    ).where(_SUBSCRIBERS.c.phone.in_(these))
    for dialect, these in THESE.items()
}
_OVER_CAP = {
    dialect: select(_SENDS.c.phone)
    .join(_BATCHES, _BATCHES.c.id == _SENDS.c.batch_id)
    .where(_SENDS.c.phone.in_(these))
    .where(_SENDS.c.at > bindparam("since"), _SENDS.c.batch_id != bindparam("but"))
    .where(_BATCHES.c.state.in_(_PERHAPS_SENT))
    .group_by(_SENDS.c.phone)
    .having(func.count() >= bindparam("most"))
    for dialect, these in THESE.items()
}


@dataclass(frozen=True, slots=True)
class Eligibility:
    """What becomes of a recipient now; equal for all who can go in one batch.

    As in Portion: `withheld` without `not_before` is never; `expires_at` is when it gets quiet.
    """

    exclusion_reason: ExclusionReason | None = None
    not_before: datetime | None = None
    expires_at: datetime | None = None


_GOES = Eligibility()
_WITHOUT_CONSENT = Eligibility(ExclusionReason.NO_CONSENT)
# Who is no subscriber: neither active nor consenting, in a zone not known.
_STRANGER = (False, False, None)


@dataclass(frozen=True, slots=True)
class RecipientGroup:
    """Recipients of one batch who are to be treated alike, and their lines in its chunk.

    `withheld` says why they are not sent to now; with `not_before` they are then, without it never.
    `expires_at` is when Sinch has to give them up; None for the broadcast's own end.
    """

    recipients: Sequence[str]
    lines: Sequence[int]
    exclusion_reason: ExclusionReason | None = None
    not_before: datetime | None = None
    expires_at: datetime | None = None

    @property
    def state(self) -> BatchState:
        never = self.exclusion_reason is not None and self.not_before is None
        return BatchState.SUPPRESSED if never else BatchState.PENDING

    @property
    def may_go(self) -> bool:
        """Whether it may be handed to Sinch now."""
        return self.exclusion_reason is None


def group_by_eligibility(
    tx: Connection,
    ctx: Context,
    broadcast: Row[Any],
    recipients: Sequence[str],
    lines: Sequence[int],
    *,
    batch_id: int,
    now: datetime,
) -> list[RecipientGroup]:
    """The recipients of a batch in portions that are treated alike; who may go now stands first."""
    if broadcast.options.get("reply"):
        return [RecipientGroup(recipients, lines)]
    fates = check_eligibility(
        tx,
        ctx,
        recipients,
        category=broadcast.category,
        ends_at=broadcast.expires_at,
        batch_id=batch_id,
        now=now,
    )
    if not fates:
        return [RecipientGroup(recipients, lines)]
    portions: dict[Eligibility, tuple[list[str], list[int]]] = defaultdict(lambda: ([], []))
    for recipient, line in zip(recipients, lines, strict=True):
        members = portions[fates.get(recipient, _GOES)]
        members[0].append(recipient)
        members[1].append(line)
    sorted_out = [
        RecipientGroup(who, where, fate.exclusion_reason, fate.not_before, fate.expires_at)
        for fate, (who, where) in portions.items()
    ]
    return sorted(sorted_out, key=lambda each: not each.may_go)


def check_eligibility(
    tx: Connection,
    ctx: Context,
    recipients: Sequence[str],
    *,
    category: Category,
    ends_at: datetime,
    batch_id: int = 0,
    now: datetime,
) -> dict[str, Eligibility]:
    """What becomes of each; who is not named goes, until the end of the broadcast at `ends_at`.

    Without a batch all texts of the last day count against the cap.
    """
    marketing = category is Category.MARKETING
    suppressed = find_suppressed(tx, ctx.subscriber_context, recipients, marketing=marketing)
    fates = {number: Eligibility(ExclusionReason.OPTED_OUT) for number in suppressed}
    erased = Eligibility(ExclusionReason.ERASED)
    fates |= {each: erased for each in recipients if is_pseudonym(each)}
    if marketing:
        left = [each for each in recipients if each not in fates]
        over_cap = _find_over_cap(tx, ctx, left, batch_id, now)
        fates |= _judge_marketing(tx, left, over_cap, _Windows(ctx, now, ends_at))
    return fates


def _judge_marketing(
    tx: Connection, recipients: Sequence[str], over_cap: set[str], windows: "_Windows"
) -> dict[str, Eligibility]:
    these = {"these": pack(tx, recipients)}
    known = {
        phone: (active, consented, zone)
        for phone, active, consented, zone in tx.execute(_KNOWN[tx.dialect.name], these)
    }
    return {
        number: _judge_one(known.get(number, _STRANGER), number in over_cap, windows, number)
        for number in recipients
    }


def _judge_one(
    subscriber: tuple[bool, bool, str | None], over_cap: bool, windows: "_Windows", number: str
) -> Eligibility:
    active, consented, zone = subscriber
    if not consented:
        return _WITHOUT_CONSENT
    if not active:
        return Eligibility(ExclusionReason.INACTIVE)
    if over_cap:
        return Eligibility(ExclusionReason.FREQUENCY_CAP)
    return windows.find(number, zone)


class _Windows:
    """The windows of this moment, each place's found once."""

    def __init__(self, ctx: Context, now: datetime, ends_at: datetime) -> None:
        self._rules, self._now, self._ends_at = ctx.subscriber_rules, now, ends_at
        self._fates: dict[tuple[tuple[str, ...], str | None], Eligibility] = {}

    def find(self, number: str, zone: str | None) -> Eligibility:
        where = place(number, zone, self._rules)
        if where not in self._fates:
            self._fates[where] = self._judge(find_window(*where, self._now, self._rules))
        return self._fates[where]

    def _judge(self, window: Window | None) -> Eligibility:
        if window is None:
            return Eligibility(ExclusionReason.NO_WINDOW)
        if window.opens_at > self._now:
            return Eligibility(ExclusionReason.QUIET_HOURS, not_before=window.opens_at)
        return (
            Eligibility(expires_at=window.closes_at) if window.closes_at < self._ends_at else _GOES
        )


def _find_over_cap(
    tx: Connection, ctx: Context, recipients: Sequence[str], batch_id: int, now: datetime
) -> set[str]:
    most = ctx.subscriber_rules.marketing_per_day
    if not most or not recipients:
        return set()
    values = {
        "these": pack(tx, recipients),
        "since": now - CAP_PERIOD,
        "but": batch_id,
        "most": most,
    }
    return set(tx.execute(_OVER_CAP[tx.dialect.name], values).scalars())
