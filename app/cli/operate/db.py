"""`flask db`: migrate and check the database, and take it over."""

import click
from flask import current_app

from app.cli.command import ServiceGroup, count_of, current_context, name_operator
from app.cli.operate.keys import tell_restored_keys
from app.config import BackupSettings
from app.db.audit import write_audit
from app.db.schema import adopt_database, verify_database
from app.operate.backups.create import create_backup
from app.operate.backups.manifest import BackupFailed
from app.sms.context import Context
from app.sms.operations.restore import mark_restored
from app.subscribers.suppressions.respell import respell_suppressions

db = ServiceGroup("db")


@db.command("upgrade")
def upgrade() -> None:
    """Migrate the tables; safe to repeat, and while the service runs.

    A database in use is backed up to BACKUP_DIR before its tables change.  Without a backup nothing
    is migrated, unless BACKUP_BEFORE_MIGRATION=off.
    """
    from app.db.migrating import upgrade_database  # noqa: PLC0415 (slow to import)

    ctx = current_context()
    upgrade_database(
        ctx.db,
        instance_id=ctx.instance_id,
        before_change=lambda: _back_up_before_migration(ctx),
        on_change=lambda tx, revisions: write_audit(
            tx, ctx.now(), name_operator(), "migrate", "database", **revisions
        ),
    )
    respelled = respell_suppressions(ctx.subscriber_context)
    if respelled:
        click.echo(f"{count_of(respelled, 'number')} suppressed in another spelling, too.")
    click.echo("The database is up to date.")


def _back_up_before_migration(ctx: Context) -> None:
    """Make a backup unless the settings say off.  Raises BackupFailed: then nothing is migrated."""
    settings: BackupSettings = current_app.extensions["config"].backups
    if not settings.before_migration:
        click.echo("No backup is made: BACKUP_BEFORE_MIGRATION=off.")
        return
    try:
        made, _ = create_backup(ctx, settings.folder, kept=settings.kept)
    except BackupFailed as e:
        raise BackupFailed(
            f"{e.sentence}. Nothing was migrated: the database is as it was. Mend that or set "
            "another BACKUP_DIR; if you have a backup of your own, BACKUP_BEFORE_MIGRATION=off"
        ) from e
    click.echo(f"Backup before the migration: {made}")


@db.command("check")
def check() -> None:
    """Compare the tables with the models; exit with 1 if they differ."""
    import app.sms.blueprints  # noqa: PLC0415 (these import all models)
    import app.webhooks.outgoing.models  # noqa: F401, PLC0415
    from app.db.migrating import check_schema  # noqa: PLC0415 (slow to import)

    check_schema(current_context().db)
    click.echo("The tables match the models.")


@db.command("adopt")
@click.confirmation_option(prompt="Is the instance this database belonged to gone for good?")
def adopt() -> None:
    """Take over a database that belonged to another instance."""
    ctx = current_context()
    adopt_database(ctx.db, instance_id=ctx.instance_id, now=ctx.now(), actor=name_operator())
    click.echo("The database belongs to this instance now.")


@db.command("restored")
@click.option("--skip-inbounds", is_flag=True, help="Do not wait for Sinch's list of texts to us.")
@click.option("--revoke-keys", is_flag=True, help="End all keys: some may have been revoked since.")
def restored(skip_inbounds: bool, revoke_keys: bool) -> None:
    """Enter restore mode: the database came back from a backup.

    Run this before anything else is started on the database.  Batches that had not ended at the
    time of the backup may have been sent since.  Nothing is sent until Sinch has been asked about
    every such batch, and until the texts since the backup were listed, because one may be a STOP.
    Batches that Sinch does not show wait for `flask batches attention`.  Users have to sign in
    again, and unused invitations have ended.
    """
    ctx = current_context()
    verify_database(ctx.db, instance_id=ctx.instance_id, may_be_backup=True)
    unknown = mark_restored(
        ctx, actor=name_operator(), inbounds=not skip_inbounds, revoke_keys=revoke_keys
    )
    click.echo(
        f"Restore mode: {count_of(unknown, 'batch')} may have been sent; Sinch is asked about each."
    )
    tell_restored_keys()
