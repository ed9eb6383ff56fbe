"""Routes of the price table."""

from http import HTTPStatus
from typing import Any

from flask import g

from app.auth import require_api_key
from app.config.scopes import KeyScope
from app.http.openapi import Blueprint
from app.sms.caps.prices import read_prices
from app.sms.caps.prices import replace_prices as replace
from app.sms.current import current_context
from app.sms.quotes.price_schemas import PricesSchema, PricesViewSchema
from app.sms.quotes.price_schemas import show_prices as show

blueprint = Blueprint(
    "prices", __name__, url_prefix="/api/prices", description="Prices of a message part by country."
)


@blueprint.route("", methods=["GET"])
@require_api_key(KeyScope.READ)
@blueprint.response(HTTPStatus.OK, PricesViewSchema)
def show_prices() -> dict[str, Any]:
    """Show the prices that quotes use."""
    with current_context().db.read() as tx:
        return show(read_prices(tx))


@blueprint.route("", methods=["PUT"])
@require_api_key(KeyScope.MANAGE_PRICES)
@blueprint.arguments(
    PricesSchema(), example={"currency": "EUR", "prices": {"SE": "0.045", "*": "0.08"}}
)
@blueprint.response(HTTPStatus.OK, PricesViewSchema)
def replace_prices(body: dict[str, Any]) -> dict[str, Any]:
    """Replace all prices."""
    table = replace(current_context(), body["currency"], body["prices"], actor=g.client.name)
    return show(table)
