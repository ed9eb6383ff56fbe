"""A quote: what an order would come to, and a token by which its sending keeps to that.

The token is signed and needs nothing stored: it holds what is compared when it comes back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from itsdangerous import BadData, URLSafeTimedSerializer

from app.errors import BadInput, Conflict
from app.sms.context import Context
from app.sms.quotes.audience_fingerprint import Fingerprint
from app.sms.quotes.estimate import Estimate, estimate
from app.sms.quotes.prices import Cost, read_prices, show_price
from app.sms.request.model import BroadcastRequest, hash_text

VALID_S = 86_400


@dataclass(frozen=True, slots=True)
class Quote:
    """An estimate, what it costs, what each country costs, and the token that stands for it."""

    found: Estimate
    cost: Cost
    by_country: Mapping[str, int | None]
    token: str


class QuoteChanged(Conflict):
    """The audience, the text or the cost is not what was quoted: nothing was sent."""


def make_quote(ctx: Context, request: BroadcastRequest) -> Quote:
    """What a completed order would come to now."""
    found = estimate(ctx, request)
    with ctx.db.read() as tx:
        prices = read_prices(tx)
    cost = prices.cost(found.parts)
    by_country = {
        country: None if (price := prices.price_of(country)) is None else price * parts
        for country, parts in found.parts.items()
    }
    token = _signer(ctx).dumps(
        {
            "text": _hash(ctx, request),
            "people": found.fingerprint.pack(),
            "parts": found.parts.total(),
            "cost": cost.micros,
            "currency": cost.currency,
        }
    )
    return Quote(found, cost, by_country, str(token))


def check_quote(ctx: Context, request: BroadcastRequest) -> None:
    """Raise QuoteMoved unless a completed order is what its quote said, within its tolerance.

    Raises BadInput for a token that is not ours, or too old.
    """
    if request.quote is None:
        return
    quoted = _read(ctx, request.quote)
    if quoted["text"] != _hash(ctx, request):
        raise QuoteChanged("The text, its sender or its category is not what was quoted.")
    found = estimate(ctx, request)
    share = request.quote_tolerance / 100
    changed = found.fingerprint.share_changed(Fingerprint.unpack(quoted["people"]))
    if changed > share:
        raise QuoteChanged(
            f"The audience moved: about {_percent(changed)} of it is not who was quoted.",
            recipients=found.recipients.total(),
        )
    _check_cost(ctx, found, quoted, share)


def _check_cost(ctx: Context, found: Estimate, quoted: Mapping[str, Any], share: float) -> None:
    with ctx.db.read() as tx:
        cost = read_prices(tx).cost(found.parts)
    if cost.currency != quoted["currency"]:
        raise QuoteChanged("The prices are in another currency than was quoted.")
    for now, then in ((cost.micros, quoted["cost"]), (found.parts.total(), quoted["parts"])):
        if abs(now - then) > share * then:
            raise QuoteChanged(
                f"The cost moved: {found.parts.total()} parts for {show_price(cost.micros)} "
                f"{cost.currency or ''}".rstrip()
                + f", quoted were {quoted['parts']} for {show_price(quoted['cost'])}.",
                parts=found.parts.total(),
            )


def _read(ctx: Context, token: str) -> Mapping[str, Any]:
    try:
        quoted: Mapping[str, Any] = _signer(ctx).loads(token, max_age=VALID_S)
    except BadData as e:
        reason = "Not a quote of ours, or older than a day"
        raise BadInput(f"quote: {reason}", fields={"quote": [f"{reason}."]}) from e
    return quoted


def _signer(ctx: Context) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(ctx.phone_hash_key, salt="clarion quote")


def _hash(ctx: Context, request: BroadcastRequest) -> str:
    """What is said, as whom, and what for; whom it goes to is compared apart."""
    said = hash_text(request, default_sender=ctx.default_sender)
    return f"{said.hex()[:32]}/{request.category.value}"


def _percent(share: float) -> str:
    return f"{share * 100:.2g} %"
