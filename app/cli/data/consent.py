"""`flask consent`: verify the ledger of consent and export evidence."""

import json
import sys
from pathlib import Path

import click

from app.cli.command import (
    FILE,
    ServiceGroup,
    audit_export,
    count_of,
    verified_context,
    write_new_file,
)
from app.cli.data.suppressions import NUMBER
from app.subscribers.consent.verify import make_evidence, verify_ledger

consent = ServiceGroup("consent")


@consent.command("verify")
@click.option("--head", help="The hash of a link as it was written down: it must still be there.")
def verify(head: str | None) -> None:
    """Verify the whole ledger.  Exits with 1 at the first broken link."""
    shown = 0

    def show(links: int) -> None:
        nonlocal shown
        if sys.stderr.isatty() and links - shown >= 50_000:
            click.echo(f"{links} links …", err=True)
            shown = links

    anchor = head.strip().lower() if head else None
    verdict = verify_ledger(verified_context().subscriber_context, anchor=anchor, on_progress=show)
    if verdict.broken:
        raise click.ClickException(verdict.broken)
    verb = "holds" if verdict.links == 1 else "hold"
    click.echo(
        f"{count_of(verdict.links, 'link')} {verb}, {verdict.erased} of them of erased people."
    )
    click.echo(f"head {verdict.head.hash.hex()}")


@consent.command("evidence")
@click.argument("number", type=NUMBER)
@click.option("--to", required=True, type=FILE, help="A file, new.")
def write_evidence(number: str, to: Path) -> None:
    """Write the ledger entries of a number with their proofs as JSON."""
    audit_export("consent evidence")
    evidence = make_evidence(verified_context().subscriber_context, number)
    text = json.dumps(evidence, indent=2, ensure_ascii=False, default=lambda at: at.isoformat())
    write_new_file(to, [text, "\n"])
    click.echo(f"{count_of(len(evidence['events']), 'event')}.")
