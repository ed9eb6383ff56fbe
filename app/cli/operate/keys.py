"""`flask keys`: API keys that are stored in the database."""

from datetime import datetime, timedelta
from typing import Any

import click
from sqlalchemy import Row

from app.cli.command import (
    TIME,
    ServiceGroup,
    current_context,
    name_operator,
    print_table,
    verified_context,
)
from app.config.scopes import DEFAULT_SCOPES, TEST_SCOPES, KeyScope, read_scopes
from app.keys.restored import find_restored_keys
from app.keys.store import KeyOptions, create_key, has_ended, list_keys, revoke_key, rotate_key

keys = ServiceGroup("keys")

_DEFAULT_HOURS = 24


@keys.command("create")
@click.argument("name")
@click.option("--scope", "scopes", help="Such as broadcasts:send,broadcasts:read; default all.")
@click.option("--days", type=click.IntRange(1, 3650), help="End after this many days.")
@click.option("--address", "addresses", multiple=True, help="An address or network; repeatable.")
@click.option("--countries", default="", help="Send to these only, such as SE,NO; default all.")
@click.option("--test", "is_test", is_flag=True, help="Check its requests, and send nothing.")
def create(
    name: str,
    scopes: str | None,
    days: int | None,
    addresses: tuple[str, ...],
    countries: str,
    is_test: bool,
) -> None:
    """Create a key of the client NAME and print it, once."""
    ctx = verified_context()
    options = KeyOptions(
        scopes=_read_scopes(scopes, is_test=is_test),
        networks=addresses,
        countries=tuple(filter(None, map(str.strip, countries.split(",")))),
        expires_at=ctx.now() + timedelta(days=days) if days else None,
        is_test=is_test,
    )
    row, key = create_key(ctx.db, ctx.clock, name, options, actor=name_operator())
    _print_key(row, key)


@keys.command("rotate")
@click.argument("key_id", type=int, metavar="ID")
@click.option(
    "--hours",
    default=_DEFAULT_HOURS,
    type=click.IntRange(0, 24 * 90),
    show_default=True,
    help="The old key works this much longer.",
)
def rotate(key_id: int, hours: int) -> None:
    """Replace a key by a new one, and print that.

    The old one works for some hours more.
    """
    ctx = verified_context()
    ends_at = ctx.now() + timedelta(hours=hours)
    row, key = rotate_key(ctx.db, ctx.clock, key_id, ends_at=ends_at, actor=name_operator())
    _print_key(row, key)
    click.echo(f"Key {key_id} works until {ends_at:{TIME}} at the latest.")


@keys.command("revoke")
@click.argument("key_id", type=int, metavar="ID")
def revoke(key_id: int) -> None:
    """End a key; every process refuses it within 5 seconds."""
    ctx = verified_context()
    row = revoke_key(ctx.db, ctx.clock, key_id, actor=name_operator())
    click.echo(f"Key {key_id} of {row.client} is revoked: it is refused from now on.")


@keys.command("list")
def list_them() -> None:
    """List the keys, what they may do, and when they were used.

    Those of API_KEYS are not among them.
    """
    ctx = verified_context()
    now = ctx.now()
    headers = ("ID", "CLIENT", "KEY", "SCOPES", "STATE", "LAST USED")
    empty = "There are no keys in the database: flask keys create NAME makes one."
    rows = (
        (
            row.id,
            row.client,
            row.hint,
            _show_scopes(row),
            _describe_state(row, now),
            f"{row.used_at:{TIME}}" if row.used_at else "never",
        )
        for row in list_keys(ctx.db)
    )
    print_table(headers, rows, empty=empty)


def tell_restored_keys() -> None:
    """Say which keys of a database that came back can be used, if any."""
    ctx = current_context()
    restored = find_restored_keys(ctx.db, ctx.clock)
    if restored:
        click.echo(
            "These keys work again, even if they were revoked since the backup: "
            f"{restored.describe()}. End each that was with flask keys revoke ID, or on the page "
            "of keys. Keys that were made since do not work."
        )


def _read_scopes(value: str | None, *, is_test: bool) -> frozenset[KeyScope]:
    if value is None:
        return TEST_SCOPES if is_test else DEFAULT_SCOPES
    try:
        scopes = read_scopes(value)
    except ValueError as e:
        raise click.UsageError(f"--scope has {e}") from e
    if not scopes:
        raise click.UsageError("--scope names no scope: leave it out for all but clients:all")
    return scopes


def _print_key(row: Row[Any], key: str) -> None:
    click.echo(f"Key {row.id} of {row.client}. It is shown only now; send it as X-API-Key:")
    click.echo(key)


def _show_scopes(row: Row[Any]) -> str:
    if set(row.scopes) == DEFAULT_SCOPES:
        return "*"
    return ",".join(row.scopes)


def _describe_state(row: Row[Any], now: datetime) -> str:
    """Return whether a key can be used, and from where, such as "test, until 2027-01-31"."""
    if row.revoked_at:
        return f"revoked {row.revoked_at:{TIME}}"
    if has_ended(row, now):
        return f"expired {row.expires_at:{TIME}}" if row.expires_at else ""
    facts = [
        "test" if row.is_test else "live",
        f"until {row.expires_at:{TIME}}" if row.expires_at else "",
        f"from {' '.join(row.networks)}" if row.networks else "",
        f"to {' '.join(row.countries)}" if row.countries else "",
    ]
    return ", ".join(filter(None, facts))
