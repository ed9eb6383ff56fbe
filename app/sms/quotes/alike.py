"""Groups of alike people of an audience, counted: what they share decides the same of all.

A million people are some thousand groups at most, so that most of the time goes to reading them.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import repeat
from typing import Any, NamedTuple

from app.phone.country import find_country
from app.sms.audience.columns import (
    AudienceHash,
    PeopleColumns,
    iterate_lines,
    list_excluded,
    read_lines,
)
from app.sms.content.measure import TextPattern
from app.sms.context import Context
from app.sms.eligibility.decide import AlikePeople, find_own_exclusions, list_over_cap
from app.sms.eligibility.quiet_hours import locate_phone
from app.sms.models.states import Category, ExclusionReason
from app.sms.request.model import BroadcastRequest, collect_defaults

# In a longer number the last three digits decide neither country, nor kind, nor zone.
_SHORT = 11
_TAIL = "000"
# Numbers whose representative is kept: some 20 MB.
_MAX_KEPT = 2**17


class AlikeGroup(NamedTuple):
    """Facts that the people of a group share.

    `phone` is the number of one of them without its last digits; `zone` is the stored one; `own` is
    why they are left out by what is known of each of them; `parts` are those of their text, 0 if it
    cannot be filled.
    """

    phone: str
    zone: str | None
    own: ExclusionReason | None
    language: str | None
    parts: int


def count_groups(
    ctx: Context,
    request: BroadcastRequest,
    alike: AlikePeople,
    starts_at: datetime,
    people_hash: AudienceHash | None = None,
) -> tuple[dict[AlikeGroup, int], Counter[ExclusionReason]]:
    """Count the people of an audience by group, and by reason those whom its query excludes.

    All are added to the hash.  Raises QueryTooSlow.
    """
    counts, excluded = Counter[tuple[Any, ...]](), Counter[ExclusionReason]()
    representatives = _Representatives(ctx, alike)
    over_cap = people_hash.marked if people_hash else _list_over_cap(ctx, request, starts_at)
    for _, lines in iterate_lines(ctx, request):
        if people_hash:
            people_hash.add(lines)
        groups, without_text = read_lines(request, lines)
        excluded += without_text
        for people in groups:
            counts.update(_list_keys(ctx, request, people, representatives, over_cap))
    return {AlikeGroup._make(key): number for key, number in counts.items()}, excluded


def iterate_people(
    ctx: Context, request: BroadcastRequest, alike: AlikePeople, starts_at: datetime, start: int
) -> Iterator[tuple[int, list[tuple[str, Any]]]]:
    """Yield people of an audience, each with what an AlikeGroup has, the first stored ones first.

    Those whom its query excludes have the reason instead.  Some come at once, with their position:
    see iterate_lines.  Raises QueryTooSlow.
    """
    representatives = _Representatives(ctx, alike)
    over_cap = _list_over_cap(ctx, request, starts_at)
    for position, lines in iterate_lines(ctx, request, start=start):
        people_in_order = sorted(lines)
        listed: list[tuple[str, Any]] = list(list_excluded(people_in_order))
        groups, _ = read_lines(request, people_in_order)
        for people in groups:
            keys = _list_keys(ctx, request, people, representatives, over_cap)
            listed += zip(people.phones, keys, strict=False)
        yield position, listed


def _list_over_cap(ctx: Context, request: BroadcastRequest, starts_at: datetime) -> set[str]:
    if request.category is not Category.MARKETING:
        return set()
    with ctx.db.read() as tx:
        return list_over_cap(tx, ctx, starts_at)


def _list_keys(
    ctx: Context,
    request: BroadcastRequest,
    people: PeopleColumns,
    representatives: "_Representatives",
    over_cap: set[str],
) -> Iterator[tuple[Any, ...]]:
    """Return what an AlikeGroup has, of each of these people."""
    with ctx.db.read() as tx:
        own = find_own_exclusions(tx, ctx, people.phones, request.category, over_cap)
    pattern = TextPattern(request.texts.get(people.language or "", request.text))
    defaults = collect_defaults(request)
    sizes = pattern.measure_columns(people.values, defaults, len(people.phones))
    return zip(
        map(representatives.__getitem__, map(_blank_tail, people.phones)),
        people.zones,
        map(own.get, people.phones) if own else repeat(None),
        repeat(people.language),
        [size.parts if size else 0 for size in sizes],
        strict=False,
    )


def _blank_tail(phone: str) -> str:
    return phone[: -len(_TAIL)] + _TAIL if len(phone) > _SHORT else phone


class _Representatives(dict[str, str]):
    """The first number that decides the same as another, by that other one."""

    def __init__(self, ctx: Context, alike: AlikePeople) -> None:
        self._rules, self._alike = ctx.subscriber_rules, alike
        self._by_facts: dict[Any, str] = {}

    def __missing__(self, phone: str) -> str:
        facts = (
            find_country(phone),
            self._alike.find_exclusion(phone),
            locate_phone(phone, None, self._rules),
        )
        if len(self) >= _MAX_KEPT:
            self.clear()
        self[phone] = representative = self._by_facts.setdefault(facts, phone)
        return representative
