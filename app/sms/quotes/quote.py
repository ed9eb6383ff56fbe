"""Quotes: what a broadcast request would come to, and the token that a later send is checked with.

The token is signed and nothing is stored: it contains the quoted counts, parts and cost, and a hash
of what they rest on.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from itsdangerous import BadData, URLSafeTimedSerializer

from app.errors import BadInput, Conflict, reject_field
from app.sms.caps.prices import Cost, format_price, read_prices
from app.sms.context import Context
from app.sms.models.states import ExclusionReason
from app.sms.quotes.estimate import Estimate, estimate_request
from app.sms.quotes.unmoved import begin_hash, has_moved, list_places
from app.sms.request.model import BroadcastRequest, hash_text

VALID_S = 86_400
# Why the look-up of an audience leaves people out.
_BY_LOOKUP = (ExclusionReason.OPTED_OUT, ExclusionReason.NO_CONSENT, ExclusionReason.NO_VALUE)


@dataclass(frozen=True, slots=True)
class Quote:
    """An estimate, its cost, the cost of each country, and the token for sending."""

    estimate: Estimate
    cost: Cost
    cost_by_country: Mapping[str, int | None]
    token: str


class QuoteChanged(Conflict):
    """The audience, the text or the cost is not what was quoted: nothing was sent."""


def make_quote(ctx: Context, request: BroadcastRequest) -> Quote:
    """Return what a prepared request would come to now."""
    facts = begin_hash(ctx, request)
    estimate = estimate_request(ctx, request, people_hash=facts.people if facts else None)
    with ctx.db.read() as tx:
        prices = read_prices(tx)
    cost = prices.cost(estimate.parts)
    cost_by_country = {
        country: None if (price := prices.price_of(country)) is None else price * parts
        for country, parts in estimate.parts.items()
    }
    opted_out = estimate.excluded[ExclusionReason.OPTED_OUT]
    looked_up = _count_looked_up(estimate)
    figures = _collect_figures(estimate, cost) | {"opted_out": opted_out, "looked_up": looked_up}
    quoted = {"text": _hash(ctx, request), **figures}
    if facts is not None:
        quoted |= {"facts": facts.write(), "places": list_places(request, estimate)}
    return Quote(estimate, cost, cost_by_country, str(_signer(ctx).dumps(quoted)))


def check_quote(ctx: Context, request: BroadcastRequest, token: str) -> None:
    """Raise QuoteChanged unless a prepared request keeps to its quote, within its tolerance.

    People are counted again only if something has moved, or that is not known.  Without a
    tolerance all that has moved is a change, and they are not counted.  Raises BadInput for an
    invalid or expired token.
    """
    quoted = _read_token(ctx, token)
    if quoted["text"] != _hash(ctx, request):
        raise QuoteChanged("The text, sender or category is not the quoted one: quote it again.")
    moved, tolerance = has_moved(ctx, request, quoted), request.quote_tolerance
    if moved is False:
        return
    if moved and tolerance is None:
        raise QuoteChanged("The audience or a price has changed since the quote: quote it again.")
    estimate = estimate_request(ctx, request)
    with ctx.db.read() as tx:
        cost = read_prices(tx).cost(estimate.parts)
    figures = _collect_figures(estimate, cost)
    changes = list(_list_changes(quoted, figures, tolerance=(tolerance or 0) / 100))
    if changes:
        raise QuoteChanged(
            f"Changed since the quote by more than {tolerance or 0} %: "
            f"{'; '.join(changes)}. Quote it again, or allow more with quote_tolerance.",
            recipients=figures["recipients"],
            parts=figures["parts"],
        )


def read_quoted(ctx: Context, token: str) -> Mapping[str, Any] | None:
    """Return the figures of a quote by its token, and when it was made, as `quoted_at`.

    Returns None for an invalid or expired token.
    """
    try:
        return _read_token(ctx, token)
    except BadInput:
        return None


def pick_figures(quoted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipients of a quote, their parts, and their cost in millionths of its currency.

    `quoted` is what read_quoted returns.
    """
    return {name: quoted[name] for name in ("recipients", "parts", "cost", "currency")}


def _collect_figures(estimate: Estimate, cost: Cost) -> dict[str, Any]:
    return {
        "recipients": estimate.recipients.total(),
        "excluded": estimate.excluded.total() + estimate.expired_before_window,
        "parts": estimate.parts.total(),
        "cost": cost.micros,
        "currency": cost.currency,
    }


def _count_looked_up(estimate: Estimate) -> int:
    """Return how many people the look-up of an audience does not exclude: see limit_people."""
    excluded = estimate.excluded.total() + estimate.expired_before_window
    by_lookup = sum(estimate.excluded[reason] for reason in _BY_LOOKUP)
    return estimate.recipients.total() + excluded - by_lookup


def _list_changes(
    quoted: Mapping[str, Any], figures: Mapping[str, Any], *, tolerance: float
) -> Iterator[str]:
    """Yield each figure that changed by more than the tolerance, with both values.

    A change of the excluded is compared with the whole audience.
    """
    audience = quoted["recipients"] + quoted["excluded"]
    for name in ("recipients", "excluded", "parts"):
        base = audience if name == "excluded" else quoted[name]
        if abs(figures[name] - quoted[name]) > tolerance * base:
            yield f"{name} from {quoted[name]} to {figures[name]}"
    changed = abs(figures["cost"] - quoted["cost"]) > tolerance * quoted["cost"]
    if changed or figures["currency"] != quoted["currency"]:
        yield f"cost from {_format_cost(quoted)} to {_format_cost(figures)}"


def _format_cost(figures: Mapping[str, Any]) -> str:
    return f"{format_price(figures['cost'])} {figures['currency'] or ''}".rstrip()


def _read_token(ctx: Context, token: str) -> Mapping[str, Any]:
    try:
        quoted, at = _signer(ctx).loads(token, max_age=VALID_S, return_timestamp=True)
    except BadData as e:
        raise reject_field("quote", "Not a token of a quote from the last 24 hours") from e
    return {**quoted, "quoted_at": at}


def _signer(ctx: Context) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(ctx.phone_hash_key, salt="clarion quote 2")


def _hash(ctx: Context, request: BroadcastRequest) -> str:
    """Return a hash of the text, sender, values and category, not of the recipients."""
    text_hash = hash_text(request, default_sender=ctx.default_sender)
    return f"{text_hash.hex()[:32]}/{request.category.value}"
