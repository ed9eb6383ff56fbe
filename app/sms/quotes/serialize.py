"""Quotes as JSON, for the API and the command line."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from app.rate_limit import reserve_capacity
from app.sms.audience.expand import count_recipients
from app.sms.caps.prices import Cost, format_price
from app.sms.context import Context
from app.sms.eligibility.quiet_hours import find_one_zone
from app.sms.quotes.dry_run import cross_check
from app.sms.quotes.estimate import Estimate
from app.sms.quotes.quote import Quote, make_quote
from app.sms.quotes.warnings import list_sender_warnings
from app.sms.request.model import BroadcastRequest
from app.sms.request.prepare import check_times, list_text_warnings, prepare_request
from app.sms.request.schemas import show_invalid
from app.text.lookalikes import find_non_gsm_characters, suggest_gsm_text
from app.text.segments import measure_text

# Recipients that are looked at within some 0.3 s.
_RECIPIENTS_PER_UNIT = 10_000


def serialize_quote(ctx: Context, request: BroadcastRequest, *, dry_run: bool) -> dict[str, Any]:
    """Make a quote and return it as JSON.  Raises the errors that sending would raise."""
    request = prepare_quote(ctx, request)
    quote = make_quote(ctx, request)
    checked = asdict(cross_check(ctx, request)) if dry_run else None
    return _show(ctx, request, quote) | {"dry_run": checked}


def prepare_quote(
    ctx: Context, request: BroadcastRequest, *, recipients: int | None = None
) -> BroadcastRequest:
    """Return a request whose recipients can be looked at, with the capacity for all, or
    for a number of them.

    Raises the errors that sending would raise.
    """
    ctx.require_own_database()
    check_times(request, ctx.now())
    request = prepare_request(ctx, request)
    number = count_recipients(ctx, request) if recipients is None else recipients
    reserve_capacity(number // _RECIPIENTS_PER_UNIT)
    return request


def _show(ctx: Context, request: BroadcastRequest, quote: Quote) -> dict[str, Any]:
    estimate = quote.estimate
    rate = ctx.rules.messages_per_second
    deferred = sorted(estimate.deferred.items())
    return {
        "recipients": estimate.recipients.total(),
        "countries": {
            country: {
                "recipients": recipients,
                "parts": estimate.parts[country],
                "cost": _show_money(quote.cost_by_country[country]),
            }
            for country, recipients in sorted(estimate.recipients.items())
        },
        "excluded": {
            reason.value: recipients for reason, recipients in sorted(estimate.excluded.items())
        },
        "expired_before_window": estimate.expired_before_window,
        "deferred": [{"at": at, "recipients": recipients} for at, recipients in deferred],
        "zones": _show_zones(estimate, request.send_at or ctx.now()),
        **show_invalid(request.invalid),
        "duplicates_removed": request.duplicates_removed,
        "texts": list(_show_texts(request, estimate)),
        "parts": estimate.parts.total(),
        "parts_histogram": {
            str(n): recipients for n, recipients in sorted(estimate.histogram.items())
        },
        "cost": _show_cost(quote.cost),
        "sending_s": estimate.parts.total() / rate if rate else None,
        "warnings": _list_warnings(ctx, request, estimate),
        "token": quote.token,
    }


def _list_warnings(ctx: Context, request: BroadcastRequest, estimate: Estimate) -> list[str]:
    texts = request.texts.values() or [request.text]
    sender = request.sender or ctx.default_sender
    return [
        *list_text_warnings(texts, max(estimate.histogram, default=request.size.parts)),
        *list_sender_warnings(sender, estimate.recipients),
    ]


def _show_zones(estimate: Estimate, starts_at: datetime) -> list[dict[str, Any]]:
    """Return where the recipients are and when it is sent there, the most recipients first."""
    counts: Counter[tuple[str | None, str | None, datetime | None]] = Counter()
    for (location, send_at), recipients in estimate.send_times.items():
        zone = find_one_zone(location, send_at or starts_at)
        counts[zone, location[1], send_at] += recipients
    return [
        {"zone": zone, "country": country, "recipients": recipients, "send_at": send_at}
        for (zone, country, send_at), recipients in counts.most_common()
    ]


def _show_money(micros: int | None) -> str | None:
    return None if micros is None else format_price(micros)


def _show_cost(cost: Cost) -> dict[str, Any] | None:
    if cost.currency is None:
        return None
    return {
        "amount": format_price(cost.micros),
        "currency": cost.currency,
        "unpriced": list(cost.unpriced),
    }


def _show_texts(request: BroadcastRequest, estimate: Estimate) -> Iterator[dict[str, Any]]:
    texts: Mapping[Any, str] = request.texts or {request.language: request.text}
    for language, text in texts.items():
        yield {
            "language": language,
            "text": text,
            "recipients": estimate.languages[language],
            "encoding": measure_text(text).encoding.value,
            "characters": [asdict(character) for character in find_non_gsm_characters(text)],
            "cheaper": suggest_gsm_text(text),
        }
