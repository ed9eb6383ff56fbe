"""Print of a quote on the terminal."""

from collections.abc import Mapping
from typing import Any

import click

from app.cli.command import TIME, count_of, name_program


def print_quote(quote: Mapping[str, Any]) -> None:
    """Print recipients, exclusions, parts, cost and time, one per line."""
    cost = quote["cost"]
    click.echo(_count(quote["recipients"], quote["parts"]))
    for name, country in quote["countries"].items():
        price = f", {country['cost']} {cost['currency']}" if country["cost"] and cost else ""
        click.echo(f"  {name}: {_count(country['recipients'], country['parts'])}{price}")
    for reason, recipients in quote["excluded"].items():
        click.echo(f"  excluded, {reason.replace('_', ' ')}: {recipients}")
    for window in quote["deferred"]:
        click.echo(f"  deferred until {window['at']:{TIME}}: {window['recipients']}")
    if quote["expired_before_window"]:
        click.echo(f"  expired before their window opens: {quote['expired_before_window']}")
    for parts, recipients in quote["parts_histogram"].items():
        click.echo(f"  {count_of(recipients, 'text')} of {count_of(int(parts), 'part')}")
    for text in quote["texts"]:
        _print_text(text)
    for warning in quote["warnings"]:
        click.echo(f"warning: {warning}")
    if cost is None:
        click.echo(f"no prices are set: {name_program()} prices import FILE")
    else:
        click.echo(f"costs {cost['amount']} {cost['currency']}")
        if cost["unpriced"]:
            click.echo(f"  without a price: {', '.join(cost['unpriced'])}")
    if quote["sending_s"] is not None:
        click.echo(f"takes about {quote['sending_s']:.0f} s at the plan's rate")


def _print_text(text: Mapping[str, Any]) -> None:
    language = f" ({text['language']})" if text["language"] else ""
    click.echo(f"{text['encoding']}{language}: {text['text']}")
    for character in text["characters"]:
        look_alike = character["look_alike"]
        replacement = f", replacement: {look_alike}" if look_alike is not None else ""
        click.echo(f"  {character['name']} x {character['count']}{replacement}")


def _count(recipients: int, parts: int) -> str:
    return f"{count_of(recipients, 'recipient')}, {count_of(parts, 'part')}"
