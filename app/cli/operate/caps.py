"""`flask caps`: limits on what clients send."""

from typing import Any

import click

from app.cli.command import ServiceGroup, name_operator, print_table, verified_context
from app.sms.caps.caps import CapName, list_caps, read_amount, remove_cap, set_cap
from app.sms.caps.prices import format_price, read_prices
from app.sms.models.cap import ALL, KEY, CapPeriod, CapUnit

caps = ServiceGroup("caps")

_EVERYBODY = "all"
_PERIOD = click.Choice([period.value for period in CapPeriod])
_UNIT = click.Choice([unit.value for unit in CapUnit])


@caps.command("set")
@click.argument("client")
@click.argument("period", type=_PERIOD)
@click.argument("unit", type=_UNIT)
@click.argument("amount")
def set_one(client: str, period: str, unit: str, amount: str) -> None:
    """Limit what a CLIENT, a key, or all clients may send.

    `flask caps set shop day parts 5000`, `flask caps set all hour cost 20.50` (in the currency of
    the prices), `flask caps set all broadcast recipients 100000`, `flask caps set key:7 day parts
    500` (of key 7 of `flask keys list` and those that replaced it).  Keys of API_KEYS have no
    number: a cap on their client limits all its keys together.  Hours and days are those of UTC;
    what was sent in the present one counts.  What waits for the cap goes on at once if it fits.
    """
    ctx = verified_context()
    cap = _name(client, period, unit)
    set_cap(ctx, cap, read_amount(cap.unit, amount), actor=name_operator())
    click.echo(f"{client}: at most {amount} {unit} {_say_period(cap.period)}.")


@caps.command("remove")
@click.argument("client")
@click.argument("period", type=_PERIOD)
@click.argument("unit", type=_UNIT)
def remove(client: str, period: str, unit: str) -> None:
    """Remove a limit; what waited for it goes on at once."""
    remove_cap(verified_context(), _name(client, period, unit), actor=name_operator())
    click.echo(f"{client} has no limit on {unit} {_say_period(CapPeriod(period))} any more.")


@caps.command("list")
def list_them() -> None:
    """List the limits, what is left of them, and when they begin anew."""
    ctx = verified_context()
    with ctx.db.read() as tx:
        currency = read_prices(tx).currency or ""
    rows = [
        (
            f"{KEY}{cap['key']}" if cap["key"] else cap["client"] or _EVERYBODY,
            cap["period"],
            cap["unit"],
            _show_amount(cap, "amount", currency),
            _show_amount(cap, "left", currency) if "left" in cap else "",
            f"{cap['resets_at'][:16].replace('T', ' ')} UTC" if "resets_at" in cap else "",
        )
        for cap in list_caps(ctx)
    ]
    empty = "There are no caps: flask caps set all day parts 10000 makes one."
    print_table(("CLIENT", "PERIOD", "UNIT", "LIMIT", "LEFT", "ANEW AT"), rows, empty=empty)


def _name(client: str, period: str, unit: str) -> CapName:
    return CapName(ALL if client == _EVERYBODY else client, CapPeriod(period), CapUnit(unit))


def _say_period(period: CapPeriod) -> str:
    return f"{'a' if period is not CapPeriod.HOUR else 'an'} {period.value}"


def _show_amount(cap: dict[str, Any], name: str, currency: str) -> str:
    if cap["unit"] == CapUnit.COST.value:
        return f"{format_price(cap[name])} {currency}"
    return f"{cap[name]:,}"
