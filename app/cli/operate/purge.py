"""`flask purge`: delete what is kept no longer, now, or say what is due."""

import click
from flask.cli import with_appcontext

from app.cli.command import ServiceCommand, name_operator, print_table, verified_context
from app.operate.retention import count_due, purge_all


@click.command("purge", cls=ServiceCommand)
@click.option("--dry-run", is_flag=True, help="Delete nothing: say how many of each are due.")
@with_appcontext
def purge(dry_run: bool) -> None:
    """Delete texts, numbers and files whose time is over, as the service does each minute.

    Small transactions delete them, while the service runs.  Broadcasts and all counts are kept, and
    so are the consent ledger, suppressions and the audit log.
    """
    ctx = verified_context()
    counts = count_due(ctx) if dry_run else purge_all(ctx, actor=name_operator())
    rows = [(f"{count:,}", name) for name, count in counts]
    print_table(("DUE" if dry_run else "DELETED", "WHAT"), rows, empty="")
