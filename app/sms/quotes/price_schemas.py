"""Schemas of the price table."""

from typing import Any

from marshmallow import Schema, ValidationError, fields

from app.http.fields import nullable, required
from app.http.reasons import capitalize
from app.sms.caps.prices import (
    CURRENCY_PATTERN,
    PRICE_PATTERN,
    PriceTable,
    check_country,
    check_currency,
    format_price,
    parse_price,
)

_MAX_SHOWN = 16


class PriceList(fields.Dict):
    """Prices by country or `*`, as decimal strings.  Loads millionths of the currency."""

    def __init__(self, **kwargs: Any) -> None:
        price = fields.String(metadata={"pattern": PRICE_PATTERN})
        country = fields.String(metadata={"pattern": r"^([A-Z]{2}|\*)$"})
        super().__init__(keys=country, values=price, **kwargs)

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, int]:
        if not isinstance(value, dict):
            raise ValidationError("Not an object of prices by country.")
        prices, errors = {}, {}
        for country, price in value.items():
            try:
                check_country(country)
                prices[country] = _parse(price)
            except ValueError as e:
                errors[country[:_MAX_SHOWN]] = [f"{capitalize(str(e))}."]
        if errors:
            raise ValidationError(errors)
        return prices


def _parse(price: Any) -> int:
    if not isinstance(price, str):
        raise ValueError("not a string: a number would not be exact")
    return parse_price(price)


def _check_currency(value: str) -> None:
    try:
        check_currency(value)
    except ValueError as e:
        raise ValidationError(f"{capitalize(str(e))}.") from e


class PricesSchema(Schema):
    """The new price table."""

    currency = fields.String(
        **required("ISO 4217.", pattern=CURRENCY_PATTERN, example="EUR"), validate=_check_currency
    )
    prices = PriceList(
        **required(
            "Price of one part by country (ISO 3166-1 alpha-2); `*` is for all "
            "others. Decimal strings, to be exact.",
            example={"SE": "0.045", "*": "0.08"},
        )
    )


class PricesViewSchema(Schema):
    """The current price table."""

    currency = fields.String(**nullable("ISO 4217; null if there are no prices."))
    prices = fields.Dict(
        **required(
            "Price of one part by country; `*` is for all others.",
            example={"SE": "0.045", "*": "0.08"},
        ),
        keys=fields.String(),
        values=fields.String(),
    )


def show_prices(table: PriceTable) -> dict[str, Any]:
    """Return the price table as JSON."""
    prices = {country: format_price(price) for country, price in table.micros.items()}
    return {"currency": table.currency, "prices": prices}
