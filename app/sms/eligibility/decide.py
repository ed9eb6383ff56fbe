"""Eligibility of recipients, decided inside the claim transaction: excluded, deferred or allowed.

opted out, erased, number not allowed      excluded from every broadcast
no consent, inactive, over the daily cap   excluded from marketing
quiet hours                                marketing deferred until the recipient's day begins

A reply to an inbound text, such as the confirmation of a STOP, skips these checks.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select

from app.db.base import table_of
from app.db.prepared import PHONES, Prepared, pack
from app.phone.allowed import NumberRules
from app.phone.e164 import find_pseudonyms, respell_all
from app.sms.context import Context
from app.sms.eligibility.frequency_cap import CAP_PERIOD
from app.sms.eligibility.quiet_hours import Location, find_window, locate_phone
from app.sms.models.batch import Batch, MarketingSend
from app.sms.models.states import BatchState, Category, ExclusionReason
from app.subscribers.models import Subscriber
from app.subscribers.suppressions.store import find_suppressed, has_anonymized

_S = BatchState
# A text of a batch in one of these states may have reached its recipients.
_MAY_HAVE_REACHED = (
    _S.SENDING,
    _S.ACCEPTED,
    _S.DUPLICATE,
    _S.UNKNOWN,
    _S.NEEDS_ATTENTION,
    _S.CLOSED_UNSENT,
)

_SENDS, _BATCHES, _SUBSCRIBERS = table_of(MarketingSend), table_of(Batch), table_of(Subscriber)
_SELECT_SUBSCRIBERS = Prepared(
    {
        dialect: select(
            _SUBSCRIBERS.c.phone,
            _SUBSCRIBERS.c.active,
            _SUBSCRIBERS.c.consented_at.is_not(None).label("consented"),
            _SUBSCRIBERS.c.time_zone,
        ).where(_SUBSCRIBERS.c.phone.in_(phones))
        for dialect, phones in PHONES.items()
    }
)
_SELECT_ZONES = {
    dialect: select(_SUBSCRIBERS.c.phone, _SUBSCRIBERS.c.time_zone).where(
        _SUBSCRIBERS.c.phone.in_(phones), _SUBSCRIBERS.c.time_zone.is_not(None)
    )
    for dialect, phones in PHONES.items()
}
_LIST_OVER_CAP = (
    select(_SENDS.c.phone)
    .join(_BATCHES, _BATCHES.c.id == _SENDS.c.batch_id)
    .where(_SENDS.c.at > bindparam("since"), _BATCHES.c.state.in_(_MAY_HAVE_REACHED))
    .group_by(_SENDS.c.phone)
    .having(func.count() >= bindparam("cap"))
)
_SELECT_OVER_CAP = Prepared(
    {
        dialect: _LIST_OVER_CAP.where(
            _SENDS.c.phone.in_(phones), _SENDS.c.batch_id != bindparam("batch_id")
        )
        for dialect, phones in PHONES.items()
    }
)


@dataclass(frozen=True, slots=True)
class Eligibility:
    """Decision about a recipient: allowed, excluded or deferred; equal within a batch.

    `exclusion_reason` says why not now: without `not_before` the recipient is excluded for good,
    with it deferred until then.  `expires_at` is when Sinch must give up; None for the broadcast's
    own end.
    """

    exclusion_reason: ExclusionReason | None = None
    not_before: datetime | None = None
    expires_at: datetime | None = None

    @property
    def state(self) -> BatchState:
        excluded = self.exclusion_reason is not None and self.not_before is None
        return BatchState.SUPPRESSED if excluded else BatchState.PENDING

    @property
    def is_allowed(self) -> bool:
        """Return True if the recipient may be submitted to Sinch now."""
        return self.exclusion_reason is None

    def find_send_time(self, starts_at: datetime, ends_at: datetime) -> datetime | None:
        """Return when a text that starts and ends then is sent; None for never, or too late."""
        if self.exclusion_reason is None:
            return starts_at
        return self.not_before if self.not_before and self.not_before < ends_at else None


_ALLOWED = Eligibility()
# Whether subscribers are active, whether they consent to marketing, and their stored zone.
_Consent = tuple[bool, bool, str | None]
# Neither active nor consenting, in an unknown zone.
_NO_SUBSCRIBER = (False, False, None)


@dataclass(frozen=True, slots=True)
class RecipientGroup:
    """Recipients of one batch with equal eligibility, and their indexes in its chunk."""

    recipients: Sequence[str]
    recipient_indexes: Sequence[int]
    eligibility: Eligibility = _ALLOWED


def defer_rest(
    groups: list[RecipientGroup], fitting: int, reason: ExclusionReason, until: datetime
) -> list[RecipientGroup]:
    """Defer the recipients of the first group, which may go now, behind the first `fitting`."""
    first, *others = groups
    if fitting >= len(first.recipients):
        return groups
    rest = RecipientGroup(
        first.recipients[fitting:],
        first.recipient_indexes[fitting:],
        Eligibility(reason, not_before=until),
    )
    if not fitting:
        return [rest, *others]
    kept = replace(
        first,
        recipients=first.recipients[:fitting],
        recipient_indexes=first.recipient_indexes[:fitting],
    )
    return [kept, *others, rest]


def group_by_eligibility(
    tx: Connection,
    ctx: Context,
    broadcast: Row[Any],
    recipients: Sequence[str],
    recipient_indexes: Sequence[int],
    *,
    batch_id: int,
    now: datetime,
) -> list[RecipientGroup]:
    """Group the recipients of a batch by their eligibility, those allowed now first."""
    eligibilities: dict[str, Eligibility] = {}
    if not broadcast.options.get("reply"):
        eligibilities = check_eligibility(
            tx,
            ctx,
            recipients,
            category=broadcast.category,
            client=broadcast.client,
            countries=broadcast.countries,
            ends_at=broadcast.expires_at,
            batch_id=batch_id,
            now=now,
        )
    if not eligibilities:
        return [RecipientGroup(recipients, recipient_indexes)]
    members: dict[Eligibility, list[tuple[str, int]]] = defaultdict(list)
    for phone, index in zip(recipients, recipient_indexes, strict=True):
        members[eligibilities.get(phone, _ALLOWED)].append((phone, index))
    groups = [
        RecipientGroup([phone for phone, _ in pairs], [index for _, index in pairs], eligibility)
        for eligibility, pairs in members.items()
    ]
    return sorted(groups, key=lambda group: not group.eligibility.is_allowed)


def check_eligibility(
    tx: Connection,
    ctx: Context,
    recipients: Sequence[str],
    *,
    category: Category,
    client: str | None,
    countries: Collection[str] | None,
    ends_at: datetime,
    batch_id: int = 0,
    now: datetime,
    zones: Mapping[str, str] | None = None,
) -> dict[str, Eligibility]:
    """Return the eligibility of each recipient; a missing one is allowed until `ends_at`.

    `countries` are those of the key, None for all.  The cap leaves out the sends of `batch_id`
    itself.  An estimate that has just read that all are active subscribers with the consent of
    their category gives their `zones`, as far as stored.
    """
    marketing = category is Category.MARKETING
    opted_out = Eligibility(ExclusionReason.OPTED_OUT)
    eligibilities = dict.fromkeys(_find_opted_out(tx, ctx, recipients, marketing), opted_out)
    eligibilities |= _find_not_allowed(ctx.rules.numbers, recipients, client, countries)
    erased = Eligibility(ExclusionReason.ERASED)
    eligibilities |= dict.fromkeys(find_pseudonyms(recipients), erased)
    if marketing:
        remaining = [phone for phone in recipients if phone not in eligibilities]
        over_cap = _find_over_cap(tx, ctx, remaining, batch_id, now)
        windows = _Windows(ctx, now, ends_at)
        known = _read_subscribers(tx, remaining) if zones is None else _trust(remaining, zones)
        eligibilities |= _check_marketing(remaining, known, over_cap, windows)
    return eligibilities


def _find_not_allowed(
    rules: NumberRules,
    recipients: Sequence[str],
    client: str | None,
    countries: Collection[str] | None,
) -> dict[str, Eligibility]:
    """Return the recipients whose numbers this client may not text with its key."""
    of_kind = rules.find_refused_kinds(recipients)
    of_country = rules.find_refused_countries(recipients, client, countries)
    return {
        **dict.fromkeys(of_country, Eligibility(ExclusionReason.COUNTRY_NOT_ALLOWED)),
        **dict.fromkeys(of_kind, Eligibility(ExclusionReason.NUMBER_NOT_ALLOWED)),
    }


def find_stored_zones(tx: Connection, recipients: Sequence[str]) -> dict[str, str]:
    """Return the time zones that are stored with recipients who are subscribers."""
    query = _SELECT_ZONES[tx.dialect.name]
    return dict(tx.execute(query, {"phones": pack(tx, recipients)}).all())


def _find_opted_out(
    tx: Connection, ctx: Context, recipients: Sequence[str], marketing: bool
) -> Iterator[str]:
    """Yield the suppressed recipients.

    A broadcast of an earlier version may have another spelling of a number than its suppression.
    """
    numbers = list(recipients)
    spellings = respell_all(numbers)
    phones = numbers if spellings is numbers else list({*numbers, *spellings})
    suppressed = find_suppressed(tx, ctx.subscriber_context, phones, marketing=marketing)
    for phone, spelling in zip(numbers, spellings, strict=True) if suppressed else ():
        if phone in suppressed or spelling in suppressed:
            yield phone


def _read_subscribers(tx: Connection, recipients: Sequence[str]) -> dict[str, _Consent]:
    values = {"phones": pack(tx, recipients)}
    rows = _SELECT_SUBSCRIBERS.fetch(tx, values)
    return {phone: (active, consented, zone) for phone, active, consented, zone in rows}


def _trust(recipients: Sequence[str], zones: Mapping[str, str]) -> dict[str, _Consent]:
    return {phone: (True, True, zones.get(phone)) for phone in recipients}


def _check_marketing(
    recipients: Sequence[str],
    known: Mapping[str, _Consent],
    over_cap: set[str],
    windows: "_Windows",
) -> dict[str, Eligibility]:
    return {
        phone: _check_subscriber(phone, known.get(phone, _NO_SUBSCRIBER), over_cap, windows)
        for phone in recipients
    }


def _check_subscriber(
    phone: str,
    subscriber: _Consent,
    over_cap: set[str],
    windows: "_Windows",
) -> Eligibility:
    active, consented, zone = subscriber
    if not consented:
        return Eligibility(ExclusionReason.NO_CONSENT)
    if not active:
        return Eligibility(ExclusionReason.INACTIVE)
    if phone in over_cap:
        return Eligibility(ExclusionReason.FREQUENCY_CAP)
    return windows.check(phone, zone)


def find_send_time(
    ctx: Context, location: Location, starts_at: datetime, ends_at: datetime
) -> datetime | None:
    """Return when marketing that starts and ends then is sent to a location; None if too late."""
    eligibility = _Windows(ctx, starts_at, ends_at).check_location(location)
    return eligibility.find_send_time(starts_at, ends_at)


class AlikePeople:
    """Eligibility of an audience's people for the caller, by what many of them share.

    All are active subscribers, with the consent of their category.
    """

    def __init__(
        self, ctx: Context, category: Category, *, now: datetime, ends_at: datetime
    ) -> None:
        self._ctx = ctx
        self._is_marketing = category is Category.MARKETING
        self._windows = _Windows(ctx, now, ends_at)

    def find_exclusion(self, phone: str) -> ExclusionReason | None:
        """Return why a number, or one with other last digits, is never texted."""
        if find_pseudonyms([phone]):
            return ExclusionReason.ERASED
        numbers, caller = self._ctx.rules.numbers, self._ctx.viewer
        found = _find_not_allowed(numbers, [phone], caller.client, caller.countries)
        return found[phone].exclusion_reason if found else None

    def check(self, phone: str, zone: str | None, own: ExclusionReason | None) -> Eligibility:
        """Return the eligibility by a number, or one with other last digits, and a stored zone.

        `own` is why these people have to be left out by what is known of each.
        """
        if reason := self.find_exclusion(phone) or own:
            return Eligibility(reason)
        return self._windows.check(phone, zone) if self._is_marketing else _ALLOWED


def find_own_exclusions(
    tx: Connection,
    ctx: Context,
    recipients: Sequence[str],
    category: Category,
    over_cap: set[str],
) -> dict[str, ExclusionReason]:
    """Return the people of an audience who are left out by what only a look-up of each finds.

    The audience's own query has left out suppressed numbers, but not those that are stored as a
    hash, or in an earlier version's spelling.  `over_cap` are numbers of list_over_cap.
    """
    excluded = dict.fromkeys(over_cap.intersection(recipients), ExclusionReason.FREQUENCY_CAP)
    numbers = list(recipients)
    if has_anonymized(tx, ctx.subscriber_context) or respell_all(numbers) is not numbers:
        opted_out = _find_opted_out(tx, ctx, numbers, category is Category.MARKETING)
        excluded |= dict.fromkeys(opted_out, ExclusionReason.OPTED_OUT)
    return excluded


def list_over_cap(tx: Connection, ctx: Context, now: datetime) -> set[str]:
    """Return all numbers that have got as much marketing within a day as they may."""
    cap = ctx.subscriber_rules.marketing_per_day
    values = {"since": now - CAP_PERIOD, "cap": cap}
    return set(tx.execute(_LIST_OVER_CAP, values).scalars()) if cap else set()


class _Windows:
    """Eligibility by quiet hours at one moment, computed once per location."""

    def __init__(self, ctx: Context, now: datetime, ends_at: datetime) -> None:
        self._rules, self._now, self._ends_at = ctx.subscriber_rules, now, ends_at
        self._by_location: dict[Location, Eligibility] = {}

    def check(self, phone: str, zone: str | None) -> Eligibility:
        location = locate_phone(phone, zone, self._rules)
        if location not in self._by_location:
            self._by_location[location] = self.check_location(location)
        return self._by_location[location]

    def check_location(self, location: Location) -> Eligibility:
        """Return the eligibility of a location by its hours."""
        window = find_window(*location, self._now, self._rules)
        if window is None:
            return Eligibility(ExclusionReason.NO_WINDOW)
        if window.opens_at > self._now:
            return Eligibility(ExclusionReason.QUIET_HOURS, not_before=window.opens_at)
        if window.closes_at < self._ends_at:
            return Eligibility(expires_at=window.closes_at)
        return _ALLOWED


def _find_over_cap(
    tx: Connection, ctx: Context, recipients: Sequence[str], batch_id: int, now: datetime
) -> set[str]:
    cap = ctx.subscriber_rules.marketing_per_day
    if not cap or not recipients:
        return set()
    values = {
        "phones": pack(tx, recipients),
        "since": now - CAP_PERIOD,
        "batch_id": batch_id,
        "cap": cap,
    }
    return {row.phone for row in _SELECT_OVER_CAP.fetch(tx, values)}
