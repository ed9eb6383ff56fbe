"""Facts that a quote rests on: while none of them has moved, its figures hold without a recount.

A quote keeps a hash of them, and where its people are: time alone ends the hours of some.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, case, func, select

from app.db.base import table_of
from app.db.engine import QueryTooSlow
from app.sms.audience.columns import AudienceHash, iterate_lines
from app.sms.audience.expand import AUDIENCE_WITHIN_S
from app.sms.caps.prices import read_prices
from app.sms.context import Context
from app.sms.eligibility.decide import find_send_time, list_over_cap
from app.sms.models.states import Category
from app.sms.quotes.estimate import Estimate, find_span
from app.sms.request.model import BroadcastRequest
from app.subscribers.models import Scope, Suppression
from app.subscribers.suppressions.store import has_anonymized

_SUPPRESSIONS = table_of(Suppression)


class FactsHash:
    """Hash of an audience and of all else that decides about its figures.

    It is made before people are read: what moves while they are counted has moved since the quote.
    """

    def __init__(self, ctx: Context, request: BroadcastRequest) -> None:
        over_cap = set[str]()
        with ctx.db.read(within_s=AUDIENCE_WITHIN_S) as tx:
            self._facts = [*_list_settings(ctx), _read_prices(tx), _count_anonymized(tx, ctx)]
            if request.category is Category.MARKETING:
                over_cap = list_over_cap(tx, ctx, find_span(ctx, request)[0])
        self.people = AudienceHash(over_cap)

    def write(self) -> str:
        """Return the hash, with the people that were added."""
        facts = [*self._facts, self.people.write()]
        written = json.dumps(facts, default=sorted, sort_keys=True)
        return sha256(written.encode()).hexdigest()[:32]


def begin_hash(ctx: Context, request: BroadcastRequest) -> FactsHash | None:
    """Return a hash that people are to be added to.

    Returns None for listed recipients, and if the facts take too long to read.
    """
    if request.audience is None:
        return None
    try:
        return FactsHash(ctx, request)
    except QueryTooSlow:
        return None


def list_places(request: BroadcastRequest, estimate: Estimate) -> list[Any]:
    """Return where people are whose hours may end, each with True if it is sent there in time."""
    if request.category is not Category.MARKETING or request.send_at is not None:
        return []
    times = {location: send_at is not None for location, send_at in estimate.send_times}
    return [[zones, country, in_time] for (zones, country), in_time in times.items()]


def has_moved(ctx: Context, request: BroadcastRequest, quoted: Mapping[str, Any]) -> bool | None:
    """Return True if something has moved since a quote was made, None if that is not known."""
    then = quoted.get("facts")
    facts = begin_hash(ctx, request) if then else None
    if facts is None:
        return None
    try:
        for _, lines in iterate_lines(ctx, request):
            facts.people.add(lines)
    except QueryTooSlow:
        return None
    starts_at, ends_at = find_span(ctx, request)
    return facts.write() != then or any(
        _is_sent_in_time(ctx, place, starts_at, ends_at) is not place[-1]
        for place in quoted["places"]
    )


def _is_sent_in_time(ctx: Context, place: Any, starts_at: datetime, ends_at: datetime) -> bool:
    zones, country, _ = place
    return find_send_time(ctx, (tuple(zones), country), starts_at, ends_at) is not None


def _list_settings(ctx: Context) -> list[Any]:
    """Return what settings and the caller's key decide about numbers."""
    numbers, viewer = ctx.rules.numbers, ctx.viewer
    allowed = [numbers.countries, dict(numbers.client_countries), numbers.kinds]
    return [*allowed, viewer.client, viewer.countries]


def _read_prices(tx: Connection) -> list[Any]:
    prices = read_prices(tx)
    return [prices.currency, dict(prices.micros)]


def _count_anonymized(tx: Connection, ctx: Context) -> list[Any]:
    """Return what changes with each suppression that has no number, but a hash of it."""
    if not has_anonymized(tx, ctx.subscriber_context):
        return []
    for_all = func.sum(case((_SUPPRESSIONS.c.scope == Scope.ALL, 1), else_=0))
    query = select(func.count(), func.sum(_SUPPRESSIONS.c.id), for_all).where(
        _SUPPRESSIONS.c.phone.is_(None), _SUPPRESSIONS.c.released_at.is_(None)
    )
    return [str(value) for value in tx.execute(query).one()]
