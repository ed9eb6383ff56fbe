"""Estimates: recipients, parts and exclusions of a broadcast request if it were sent.

The claim's own functions decide about each recipient, and about all alike people of an audience at
once: see alike.py.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection

from app.db.prepared import QUERY_CHUNK_SIZE, chunked
from app.phone.country import find_country
from app.sms.audience.chunks import AudienceChunk
from app.sms.audience.columns import AudienceHash
from app.sms.audience.expand import iterate_chunks
from app.sms.audience.lookup import PAGE_SIZE
from app.sms.content.measure import TextPattern
from app.sms.context import Context
from app.sms.eligibility.decide import (
    AlikePeople,
    Eligibility,
    check_eligibility,
    find_stored_zones,
)
from app.sms.eligibility.quiet_hours import Location, locate_phone
from app.sms.models.states import ExclusionReason
from app.sms.quotes.alike import AlikeGroup, count_groups, iterate_people
from app.sms.request.model import BroadcastRequest, collect_defaults

_ALLOWED = Eligibility()
_QUIET = (ExclusionReason.QUIET_HOURS, ExclusionReason.NO_WINDOW)
# Start and end of a request.
Span = tuple[datetime, datetime]


@dataclass(slots=True)
class Estimate:
    """Counts of a request's recipients.

    `recipients` and `parts` are by country, of all who would get the text; `histogram` counts
    recipients by the parts of their own text, `languages` by the language of a translated one, or
    None; `deferred` counts those who wait for the end of their quiet hours, by that time;
    `expired_before_window` those for whom it comes too late.  `send_times` counts recipients by
    where they are and when it is sent there; the time is None for quiet hours that end too late,
    or never.
    """

    recipients: Counter[str] = field(default_factory=Counter)
    parts: Counter[str] = field(default_factory=Counter)
    histogram: Counter[int] = field(default_factory=Counter)
    languages: Counter[str | None] = field(default_factory=Counter)
    deferred: Counter[datetime] = field(default_factory=Counter)
    send_times: Counter[tuple[Location, datetime | None]] = field(default_factory=Counter)
    excluded: Counter[ExclusionReason] = field(default_factory=Counter)
    expired_before_window: int = 0


def estimate_request(
    ctx: Context,
    request: BroadcastRequest,
    *,
    limit: int | None = None,
    people_hash: AudienceHash | None = None,
) -> Estimate:
    """Count all recipients of a request, or about the first `limit`, as of its start.

    All people of an audience are added to the hash.  Raises QueryTooSlow.
    """
    estimate, looked_at = Estimate(), 0
    span = find_span(ctx, request)
    if request.audience is not None and limit is None:
        return _count_audience(ctx, request, span, people_hash)
    for chunk in iterate_chunks(ctx, request, page_size=limit or PAGE_SIZE):
        if chunk.exclusion_reason is not None:
            estimate.excluded[chunk.exclusion_reason] += len(chunk.recipients)
        else:
            _count_chunk(estimate, ctx, request, chunk, span)
        looked_at += len(chunk.recipients)
        if limit is not None and looked_at >= limit:
            break  # before the next page is read
    return estimate


def iterate_reasons(
    ctx: Context, request: BroadcastRequest, *, start: int = 0
) -> Iterator[tuple[int, list[tuple[str, ExclusionReason | None]]]]:
    """Yield the recipients of a request, each with why they get nothing, as of its start, or None.

    It is QUIET_HOURS for those that end too late.  Some come at once, with their position: those
    before a `start` are left out.  Raises QueryTooSlow.
    """
    span = find_span(ctx, request)
    if request.audience is not None:
        yield from _iterate_audience(ctx, request, span, start)
        return
    for position in range(start, len(request.recipients), QUERY_CHUNK_SIZE):
        phones = request.recipients[position : position + QUERY_CHUNK_SIZE]
        with ctx.db.read() as tx:
            found = check_phones(tx, ctx, request, phones, span)
        yield position, [(phone, explain(found.get(phone, _ALLOWED), span)) for phone in phones]


def _iterate_audience(
    ctx: Context, request: BroadcastRequest, span: Span, start: int
) -> Iterator[tuple[int, list[tuple[str, ExclusionReason | None]]]]:
    """Yield people of an audience as iterate_reasons does: alike ones are decided about once."""
    starts_at, ends_at = span
    alike = AlikePeople(ctx, request.category, now=starts_at, ends_at=ends_at)
    reasons: dict[AlikeGroup | ExclusionReason, ExclusionReason | None] = {}
    for position, people in iterate_people(ctx, request, alike, starts_at, start):
        for _, group in people:
            if group not in reasons:
                reasons[group] = _find_reason(alike, group, span)
        yield position, [(phone, reasons[group]) for phone, group in people]


def _find_reason(
    alike: AlikePeople, group: AlikeGroup | ExclusionReason, span: Span
) -> ExclusionReason | None:
    if isinstance(group, ExclusionReason):
        return group
    phone, zone, own, _, parts = group
    return explain(alike.check(phone, zone, own), span) if parts else ExclusionReason.NO_VALUE


def explain(eligibility: Eligibility, span: Span) -> ExclusionReason | None:
    """Return why a recipient gets nothing; None for one who gets the text, now or later."""
    return None if eligibility.find_send_time(*span) else eligibility.exclusion_reason


def find_span(ctx: Context, request: BroadcastRequest) -> Span:
    """Return when a request would start and end."""
    starts_at = max(request.send_at or ctx.now(), ctx.now())
    default_end = starts_at + timedelta(seconds=ctx.rules.expire_after_s)
    return starts_at, request.expire_at or default_end


def check_phones(
    tx: Connection,
    ctx: Context,
    request: BroadcastRequest,
    phones: Sequence[str],
    span: Span,
    *,
    zones: Mapping[str, str] | None = None,
) -> dict[str, Eligibility]:
    """Return the eligibility of recipients of a request: see check_eligibility."""
    starts_at, ends_at = span
    return check_eligibility(
        tx,
        ctx,
        phones,
        category=request.category,
        client=ctx.viewer.client,
        countries=ctx.viewer.countries,
        ends_at=ends_at,
        now=starts_at,
        zones=zones,
    )


def _count_audience(
    ctx: Context, request: BroadcastRequest, span: Span, people_hash: AudienceHash | None
) -> Estimate:
    """Count all people of an audience, by groups of alike ones."""
    estimate, (starts_at, ends_at) = Estimate(), span
    alike = AlikePeople(ctx, request.category, now=starts_at, ends_at=ends_at)
    groups, estimate.excluded = count_groups(ctx, request, alike, starts_at, people_hash)
    for group, people in groups.items():
        if not group.parts:
            estimate.excluded[ExclusionReason.NO_VALUE] += people
            continue
        eligibility = alike.check(group.phone, group.zone, group.own)
        if _note_eligibility(estimate, ctx, group.phone, group.zone, eligibility, span, people):
            estimate.languages[group.language or request.language] += people
            _note_parts(estimate, group.phone, group.parts, people)
    return estimate


def _count_chunk(
    estimate: Estimate, ctx: Context, request: BroadcastRequest, chunk: AudienceChunk, span: Span
) -> None:
    for phones in chunked(chunk.recipients):
        with ctx.db.read() as tx:
            eligibilities = check_phones(tx, ctx, request, phones, span, zones=chunk.zones)
            zones = find_stored_zones(tx, phones) if chunk.zones is None else chunk.zones
        allowed = [
            phone
            for phone in phones
            if _note_eligibility(
                estimate, ctx, phone, zones.get(phone), eligibilities.get(phone, _ALLOWED), span
            )
        ]
        _count_parts(estimate, request, chunk, allowed)


def _note_eligibility(
    estimate: Estimate,
    ctx: Context,
    phone: str,
    zone: str | None,
    eligibility: Eligibility,
    span: Span,
    people: int = 1,
) -> bool:
    """Count people by when they get the text, or why not.  Returns True if they get it."""
    starts_at, ends_at = span
    if eligibility.is_allowed or eligibility.exclusion_reason in _QUIET:
        location = locate_phone(phone, zone, ctx.subscriber_rules)
        estimate.send_times[location, eligibility.find_send_time(starts_at, ends_at)] += people
    if eligibility.exclusion_reason is None:
        return True
    if eligibility.not_before is None:
        estimate.excluded[eligibility.exclusion_reason] += people
        return False
    if eligibility.not_before >= ends_at:
        estimate.expired_before_window += people
        return False
    estimate.deferred[eligibility.not_before] += people
    return True


def _count_parts(
    estimate: Estimate, request: BroadcastRequest, chunk: AudienceChunk, recipients: Sequence[str]
) -> None:
    estimate.languages[chunk.language or request.language] += len(recipients)
    counts = list_parts(request, chunk, recipients)
    for phone, parts in zip(recipients, counts, strict=True):
        _note_parts(estimate, phone, parts)


def _note_parts(estimate: Estimate, phone: str, parts: int, people: int = 1) -> None:
    country = find_country(phone)
    estimate.recipients[country] += people
    estimate.parts[country] += parts * people
    estimate.histogram[parts] += people


def list_parts(
    request: BroadcastRequest, chunk: AudienceChunk, recipients: Sequence[str]
) -> list[int]:
    """Return the number of parts of each recipient's own text."""
    pattern = TextPattern(request.texts.get(chunk.language or "", request.text))
    sizes = pattern.measure(recipients, chunk.parameters or {}, collect_defaults(request))
    return [size.parts if size else 0 for size in sizes]
