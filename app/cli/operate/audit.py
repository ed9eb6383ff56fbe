"""`flask audit`: who did what, and whether the log is as it was written."""

import json

import click

from app.cli.command import (
    TIME,
    ServiceGroup,
    audit_export,
    count_of,
    print_table,
    verified_context,
)
from app.operate.audit import list_entries, read_all, verify_entries, write_entry

audit = ServiceGroup("audit")

_LONGEST_FACTS = 60


@audit.command("list")
@click.option("--actor", help="Such as shop, people:Anna or cli:root.")
@click.option("--action", help="Such as pause or export.")
@click.option("--subject", help="Such as the id of a broadcast.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1_000))
def list_them(actor: str | None, action: str | None, subject: str | None, limit: int) -> None:
    """List entries, the newest first.

    A broadcast that was sent is its own entry: see `flask broadcasts list`.
    """
    db = verified_context().db
    asked = {"actor": actor, "action": action, "subject": subject}
    only = {name: value for name, value in asked.items() if value is not None}
    page = list_entries(db, only=only, limit=limit)
    rows = (
        (entry.id, f"{entry.at:{TIME}}", entry.actor, entry.action, entry.subject, _show(entry))
        for entry in page.rows
    )
    headers = ("ENTRY", "AT", "ACTOR", "ACTION", "SUBJECT", "FACTS")
    print_table(headers, rows, empty="There are no entries.")


@audit.command("verify")
@click.option("--head", help="The head of a log line or of a backup: it must still be there.")
def verify(head: str | None) -> None:
    """Check that no sealed entry was changed.

    Nor added, nor removed: exits with 1 if one was.
    """
    try:
        wanted = bytes.fromhex(head) if head else None
    except ValueError as e:
        raise click.UsageError("--head is not a hash in hexadecimal digits") from e
    verdict = verify_entries(verified_context().db, head=wanted)
    if verdict.broken:
        raise click.ClickException(verdict.broken)
    verb = "is as it was" if verdict.sealed == 1 else "are as they were"
    click.echo(f"{count_of(verdict.sealed, 'entry')} {verb}; {verdict.unsealed} not sealed yet.")
    click.echo(f"head {verdict.head.hex()}")


@audit.command("export")
def export() -> None:
    """Print all entries as lines of JSON, in the form that is sealed."""
    audit_export("audit")
    for entry in read_all(verified_context().db):
        click.echo(write_entry(entry))


def _show(entry: object) -> str:
    """Return the facts of an entry as short JSON."""
    facts = getattr(entry, "facts", None)
    text = json.dumps(facts, ensure_ascii=False) if facts else ""
    return text if len(text) <= _LONGEST_FACTS else f"{text[: _LONGEST_FACTS - 1]}…"
