"""What would become of an order if it were sent: to whom, in how many parts, when.

Decided by the same functions as the claim's, for each recipient.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache

from app.phone.country import find_country
from app.sms.audience.chunks import AudienceChunk, chunked
from app.sms.audience.expand import iterate_chunks
from app.sms.content.placeholders import find_placeholders, measure_personal
from app.sms.context import Context
from app.sms.eligibility.decide import Eligibility, check_eligibility
from app.sms.models.states import ExclusionReason
from app.sms.quotes.audience_fingerprint import Fingerprint
from app.sms.request.model import BroadcastRequest, collect_defaults

_AT_ONCE = 1_000


@dataclass(slots=True)
class Estimate:
    """The recipients of an order sorted out; parts are those of each one's own text.

    `recipients` and `parts` are by country, of all who would get it; `histogram` has how many get
    so many parts; `openings` when those who wait for their day go; `too_late` whose day begins
    behind the broadcast's end; `withheld` why others get nothing.
    """

    recipients: Counter[str] = field(default_factory=Counter)
    parts: Counter[str] = field(default_factory=Counter)
    histogram: Counter[int] = field(default_factory=Counter)
    deferred: Counter[datetime] = field(default_factory=Counter)
    excluded: Counter[ExclusionReason] = field(default_factory=Counter)
    expired_before_window: int = 0
    digests: list[bytes] = field(default_factory=list)

    @property
    def fingerprint(self) -> Fingerprint:
        """Of those who would get it."""
        return Fingerprint.of(self.digests)


def estimate(ctx: Context, request: BroadcastRequest) -> Estimate:
    """Sort out everybody whom an order means, as of its start."""
    found = Estimate()
    starts_at = max(request.send_at or ctx.now(), ctx.now())
    default_end = starts_at + timedelta(seconds=ctx.rules.expire_after_s)
    ends_at = request.expire_at or default_end
    defaults = collect_defaults(request)
    for piece in iterate_chunks(ctx, request):
        if piece.exclusion_reason is not None:
            found.excluded[piece.exclusion_reason] += len(piece.recipients)
            continue
        text = request.texts.get(piece.language or "", request.text)
        for part in chunked(piece.recipients, _AT_ONCE):
            with ctx.db.read() as tx:
                fates = check_eligibility(
                    tx, ctx, part, category=request.category, ends_at=ends_at, now=starts_at
                )
            going = list(_sort_out(found, part, fates, ends_at))
            _measure(found, going, piece, text, defaults)
            found.digests += map(ctx.subscriber_context.hash_phone, going)
    return found


def _sort_out(
    found: Estimate, recipients: Sequence[str], fates: Mapping[str, Eligibility], ends_at: datetime
) -> Iterator[str]:
    """Those who get it, now or when their day begins; the others are counted."""
    for recipient in recipients:
        fate = fates.get(recipient)
        if fate is None or fate.exclusion_reason is None:
            yield recipient
        elif fate.not_before is None:
            found.excluded[fate.exclusion_reason] += 1
        elif fate.not_before >= ends_at:
            found.expired_before_window += 1
        else:
            found.deferred[fate.not_before] += 1
            yield recipient


def _measure(
    found: Estimate,
    recipients: Sequence[str],
    piece: AudienceChunk,
    text: str,
    defaults: Mapping[str, str],
) -> None:
    each_ones = list_parts(text, piece, defaults, recipients)
    for recipient, parts in zip(recipients, each_ones, strict=True):
        country = find_country(recipient)
        found.recipients[country] += 1
        found.parts[country] += parts
        found.histogram[parts] += 1


def list_parts(
    text: str, piece: AudienceChunk, defaults: Mapping[str, str], recipients: Sequence[str]
) -> Iterator[int]:
    """How many parts the text of each of these recipients of a piece takes."""
    names, own = tuple(find_placeholders(text)), piece.own or {}
    for recipient in recipients:
        values = (own.get(name, {}).get(recipient, defaults.get(name, "")) for name in names)
        yield _count_parts(text, names, tuple(values))


@lru_cache(maxsize=4096)
def _count_parts(text: str, names: tuple[str, ...], values: tuple[str, ...]) -> int:
    size = measure_personal(text, dict(zip(names, values, strict=True)))
    return size.parts if size else 0
