"""Prices of a message part by country: set by each installation, by its contract with Sinch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from phonenumbers import SUPPORTED_REGIONS
from sqlalchemy import Connection, delete, insert, select

from app.db.audit import write_audit
from app.db.base import table_of
from app.db.engine import lock_table
from app.errors import reject_field
from app.phone.country import find_country
from app.sms.context import Context
from app.sms.models.cap import Cap, CapUnit
from app.sms.models.price import Price

EVERYWHERE = "*"
CURRENCY_PATTERN = "^[A-Z]{3}$"
PRICE_PATTERN = r"^[0-9]{1,6}(\.[0-9]{1,6})?$"

_CURRENCY = re.compile(CURRENCY_PATTERN)
_PRICE = re.compile(PRICE_PATTERN)
_DECIMALS = 6

_PRICES, _CAPS = table_of(Price), table_of(Cap)


@dataclass(frozen=True, slots=True)
class Cost:
    """An amount in millionths of the currency's unit, and the countries without a price."""

    micros: int
    currency: str | None
    unpriced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Price of a part by country, in millionths of the currency's unit; no currency if empty."""

    currency: str | None = None
    micros: Mapping[str, int] = field(default_factory=dict)

    @property
    def cheapest(self) -> int:
        """The lowest price of a part that `charge` may return."""
        return min(self.micros.values(), default=0)

    def price_of(self, country: str) -> int | None:
        """Return the price of one part to this country, else to everywhere; None without either."""
        return self.micros.get(country, self.micros.get(EVERYWHERE))

    def charge(self, phone: str) -> int:
        """Return the price of a part; without one for the country, the dearest there is.

        >>> PriceTable("EUR", {"SE": 45_000, "NO": 60_000}).charge("+4520123456")
        60000
        """
        price = self.price_of(find_country(phone))
        return max(self.micros.values(), default=0) if price is None else price

    def cost(self, parts_by_country: Mapping[str, int]) -> Cost:
        """Return the cost of all these parts that have a price.

        >>> table = PriceTable("EUR", {"SE": 45_000})
        >>> table.cost({"SE": 2, "NO": 1})
        Cost(micros=90000, currency='EUR', unpriced=('NO',))
        """
        prices = {country: self.price_of(country) for country in parts_by_country}
        return Cost(
            micros=sum(
                parts_by_country[country] * (price or 0) for country, price in prices.items()
            ),
            currency=self.currency,
            unpriced=tuple(sorted(country for country, price in prices.items() if price is None)),
        )


def read_prices(tx: Connection) -> PriceTable:
    """Return the current prices."""
    query = select(_PRICES.c.country, _PRICES.c.currency, _PRICES.c.micros)
    rows = tx.execute(query.order_by(_PRICES.c.country)).all()
    currency = rows[0].currency if rows else None
    return PriceTable(currency, {row.country: row.micros for row in rows})


def replace_prices(
    ctx: Context, currency: str, micros: Mapping[str, int], *, actor: str
) -> PriceTable:
    """Replace all prices with these.

    Raises BadInput for none at all while there is a cap on costs, which would limit nothing.
    """
    rows = [
        {"country": country, "currency": currency, "micros": price}
        for country, price in micros.items()
    ]
    with ctx.db.write() as tx:
        # Else two requests that replace the table at once would both insert.
        lock_table(tx, _PRICES)
        tx.execute(delete(_PRICES))
        if rows:
            tx.execute(insert(_PRICES), rows)
        elif tx.execute(select(_CAPS.c.amount).where(_CAPS.c.unit == CapUnit.COST)).first():
            raise reject_field("prices", "A cap on costs needs prices: remove the cap first")
        facts = {"currency": currency, "countries": len(rows)}
        write_audit(tx, ctx.now(), actor, "replace", "prices", **facts)
        return read_prices(tx)


def parse_price(value: str) -> int:
    """Return the millionths of a decimal such as 0.045, exactly.  Raises ValueError.

    >>> parse_price("0.045"), parse_price("1")
    (45000, 1000000)
    """
    if not _PRICE.fullmatch(value):
        raise ValueError("not a decimal such as 0.045, of at most six places")
    whole, _, decimals = value.partition(".")
    return int(whole + decimals.ljust(_DECIMALS, "0"))


def format_price(micros: int) -> str:
    """Return millionths as a decimal without trailing zeros.

    >>> format_price(45_000), format_price(1_000_000), format_price(12_345_678_901)
    ('0.045', '1', '12345.678901')
    """
    whole, decimals = divmod(micros, 10**_DECIMALS)
    return f"{whole}.{decimals:0{_DECIMALS}}".rstrip("0").rstrip(".")


def check_country(value: str) -> None:
    """Raise ValueError unless the value is a country's code or `*`."""
    if value != EVERYWHERE and value not in SUPPORTED_REGIONS:
        raise ValueError("not a country's code of ISO 3166-1, such as SE, nor *")


def check_currency(value: str) -> None:
    """Raise ValueError unless the value looks like a currency's code."""
    if not _CURRENCY.fullmatch(value):
        raise ValueError("not a currency's code of ISO 4217, such as EUR")
