"""A quote on a terminal."""

from collections.abc import Mapping
from typing import Any

import click


def print_quote(quote: Mapping[str, Any]) -> None:
    """What a broadcast would come to, a line each."""
    cost = quote["cost"]
    click.echo(_count(quote["recipients"], quote["parts"]))
    for country, each in quote["countries"].items():
        price = f", {each['cost']} {cost['currency']}" if each["cost"] and cost else ""
        click.echo(f"  {country}: {_count(each['recipients'], each['parts'])}{price}")
    for reason, people in quote["excluded"].items():
        click.echo(f"  left out, {reason.replace('_', ' ')}: {people}")
    for opening in quote["deferred"]:
        click.echo(f"  wait until {opening['at']:%Y-%m-%d %H:%M} UTC: {opening['recipients']}")
    if quote["expired_before_window"]:
        click.echo(f"  their day begins too late: {quote['expired_before_window']}")
    for parts, people in quote["parts_histogram"].items():
        click.echo(f"  {_plural(people, 'text')} of {_plural(int(parts), 'part')}")
    for text in quote["texts"]:
        _print_text(text)
    if cost is None:
        click.echo("no prices are known: flask prices import FILE")
    else:
        click.echo(f"costs {cost['amount']} {cost['currency']}")
        if cost["unpriced"]:
            click.echo(f"  without a price: {', '.join(cost['unpriced'])}")
    if quote["sending_s"] is not None:
        click.echo(f"takes about {quote['sending_s']:.0f} s at the plan's rate")


def _print_text(text: Mapping[str, Any]) -> None:
    language = f" ({text['language']})" if text["language"] else ""
    click.echo(f"{text['encoding']}{language}")
    for each in text["characters"]:
        instead = f", cheaper: {each['look_alike']}" if each["look_alike"] is not None else ""
        click.echo(f"  {each['name']} x {each['count']}{instead}")


def _count(recipients: int, parts: int) -> str:
    return f"{_plural(recipients, 'recipient')}, {_plural(parts, 'part')}"


def _plural(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
