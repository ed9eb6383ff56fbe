"""A quote in words and figures, for the API and the command line alike."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from app.sms.context import Context
from app.sms.quotes.dry_run import cross_check
from app.sms.quotes.prices import Cost, show_price
from app.sms.quotes.quote import Quote, make_quote
from app.sms.request.model import Order
from app.sms.request.prepare import complete_order
from app.sms.request.schemas import check_times, show_invalid
from app.subscribers.audiences.audience import refuse_unknown_tags
from app.text.lookalikes import find_costly, suggest_cheaper
from app.text.segments import measure_text


def answer_quote(ctx: Context, order: Order, *, dry_run: bool) -> dict[str, Any]:
    """What an order would come to, as JSON.  Raises what its sending would raise."""
    ctx.require_own_database()
    check_times(order, ctx.now())
    order = complete_order(ctx, order)
    if order.audience is not None:
        with ctx.db.read() as tx:
            refuse_unknown_tags(tx, order.audience)
    quote = make_quote(ctx, order)
    checked = asdict(cross_check(ctx, order)) if dry_run else None
    return _show(ctx, order, quote) | {"dry_run": checked}


def _show(ctx: Context, order: Order, quote: Quote) -> dict[str, Any]:
    found = quote.found
    rate = ctx.rules.messages_per_second
    openings = sorted(found.openings.items())
    return {
        "recipients": found.recipients.total(),
        "countries": {
            country: {
                "recipients": people,
                "parts": found.parts[country],
                "cost": _show_money(quote.by_country[country]),
            }
            for country, people in sorted(found.recipients.items())
        },
        "withheld": {reason.value: people for reason, people in sorted(found.withheld.items())},
        "too_late": found.too_late,
        "waiting": [{"at": at, "recipients": people} for at, people in openings],
        **show_invalid(order.invalid),
        "duplicates_removed": order.duplicates_removed,
        "texts": list(_show_texts(order)),
        "parts": found.parts.total(),
        "parts_histogram": {str(n): people for n, people in sorted(found.histogram.items())},
        "cost": _show_cost(quote.cost),
        "sending_s": found.parts.total() / rate if rate else None,
        "token": quote.token,
    }


def _show_money(micros: int | None) -> str | None:
    return None if micros is None else show_price(micros)


def _show_cost(cost: Cost) -> dict[str, Any] | None:
    if cost.currency is None:
        return None
    return {
        "amount": show_price(cost.micros),
        "currency": cost.currency,
        "unpriced": list(cost.unpriced),
    }


def _show_texts(order: Order) -> Iterator[dict[str, Any]]:
    texts: Mapping[Any, str] = order.texts or {order.language: order.text}
    for language, text in texts.items():
        yield {
            "language": language,
            "text": text,
            "encoding": measure_text(text).encoding.value,
            "characters": [asdict(each) for each in find_costly(text)],
            "cheaper": suggest_cheaper(text),
        }
