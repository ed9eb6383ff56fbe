"""`flask db`: the database's tables, and whose it is."""

import getpass

import click
from flask import current_app
from flask.cli import AppGroup

from app.db.schema import WrongDatabase, adopt_database
from app.sms.context import Context
from app.sms.operations.restore import mark_restored

db = AppGroup("db", help="The database: migrate it, check it, tell that it was restored.")


def database_context() -> Context:
    """What the state machine stands on."""
    ctx: Context = current_app.extensions["clarion"]
    return ctx


def our_context() -> Context:
    """The same; ends with one line unless the database is migrated and ours."""
    ctx = database_context()
    try:
        ctx.require_own_database()
    except WrongDatabase as e:
        raise click.ClickException(str(e)) from e
    return ctx


def name_operator() -> str:
    """Who gives a command, for the audit log."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):
        return "cli"


@db.command("upgrade")
def upgrade() -> None:
    """Bring the tables up to date; safe to repeat, and to run while the service runs."""
    from app.db.migrating import upgrade_database  # noqa: PLC0415 (slow to import)

    ctx = database_context()
    upgrade_database(ctx.db, instance_id=ctx.instance_id)
    click.echo("The database is up to date.")


@db.command("check")
def check() -> None:
    """Exit with 1 when the tables are not as the program wants them."""
    from app.db.migrating import check_schema  # noqa: PLC0415 (slow to import)

    try:
        check_schema(database_context().db)
    except WrongDatabase as e:
        raise click.ClickException(str(e)) from e
    click.echo("The tables are as the program wants them.")


@db.command("adopt")
@click.confirmation_option(prompt="Is the instance this database belonged to gone for good?")
def adopt() -> None:
    """Make a database ours that belonged to another instance."""
    ctx = database_context()
    adopt_database(ctx.db, instance_id=ctx.instance_id)
    click.echo("The database belongs to this instance now.")


@db.command("restored")
@click.option("--skip-inbounds", is_flag=True, help="Do not wait for Sinch's list of texts to us.")
def restored(skip_inbounds: bool) -> None:
    """Tell that the database came back from a backup, before anything is started on it.

    What was not finished then may have been sent since: nothing is sent until Sinch has been asked
    about every such batch, and what Sinch does not show waits for `flask batches attention`; nor
    until the texts since the backup were listed, for a STOP may be among them.
    """
    in_doubt = mark_restored(our_context(), actor=name_operator(), inbounds=not skip_inbounds)
    click.echo(f"Restore mode: {in_doubt} batches are in doubt, Sinch is asked about each.")
