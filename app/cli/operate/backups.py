"""`flask backup`: make, verify, list and restore copies of the database."""

from pathlib import Path

import click
from flask import current_app
from sqlalchemy.exc import OperationalError

from app.cli.command import (
    EXISTING_FILE,
    ServiceGroup,
    audit_export,
    count_of,
    current_context,
    name_operator,
    print_table,
    verified_context,
)
from app.cli.operate.keys import tell_restored_keys
from app.config import BackupSettings
from app.operate.backups.create import create_backup
from app.operate.backups.manifest import Manifest, list_backups
from app.operate.backups.verify import describe_backup, verify_backup

backup = ServiceGroup("backup")

_FOLDER = click.Path(file_okay=False, path_type=Path)


@backup.command("create")
@click.argument("folder", metavar="[DIR]", required=False, type=_FOLDER)
def create(folder: Path | None) -> None:
    """Make a backup in DIR, or in BACKUP_DIR, while the service runs.

    It is checked before it gets its name: all of it is read, and its counts must add up.  Counts
    that do not are printed, and the backup is kept.  BACKUPS_KEPT deletes the oldest.
    """
    settings = _read_settings()
    _audit_export()
    made, manifest = create_backup(
        verified_context(), folder or settings.folder, kept=settings.kept
    )
    click.echo(made)
    _describe(manifest)


@backup.command("verify")
@click.argument("path", type=EXISTING_FILE)
def verify(path: Path) -> None:
    """Check that a backup is whole, and say what it contains.

    It must be what was made, and such that it can be restored.
    """
    manifest = verify_backup(path)
    click.echo("The backup is whole: its SHA-256 is right, and all of it can be read.")
    _describe(manifest)


@backup.command("list")
@click.argument("folder", metavar="[DIR]", required=False, type=_FOLDER)
def list_all(folder: Path | None) -> None:
    """List the backups in DIR, the oldest first.

    The default is BACKUP_DIR; `verify` checks one.
    """
    folder = folder or _read_settings().folder
    rows = []
    for path in list_backups(folder):
        manifest = Manifest.read(path)
        rows.append((f"{manifest.made_at:%Y-%m-%d %H:%M:%S} UTC", f"{manifest.bytes:,}", path))
    print_table(("MADE", "BYTES", "FILE"), rows, empty=f"No backups in {folder}.")


@backup.command("restore")
@click.argument("path", type=EXISTING_FILE)
@click.option("--skip-inbounds", is_flag=True, help="Do not wait for Sinch's list of texts to us.")
@click.option("--revoke-keys", is_flag=True, help="End all keys: some may have been revoked since.")
def restore(path: Path, skip_inbounds: bool, revoke_keys: bool) -> None:
    """Bring a backup back as the database.

    It is that of DATABASE_URL, and then in restore mode.

    Stop everything first.  Move the files of an SQLite database away; make a new PostgreSQL
    database.  Nothing is sent until Sinch has been asked about every batch that had not ended at
    the time of the backup: see `flask db restored`.
    """
    from app.operate.backups.restore import restore_backup  # noqa: PLC0415 (slow to import)

    unknown = restore_backup(
        current_context(),
        path,
        actor=name_operator(),
        inbounds=not skip_inbounds,
        revoke_keys=revoke_keys,
    )
    click.echo(
        f"Restored, in restore mode: {count_of(unknown, 'batch')} may have been sent since; Sinch "
        "is asked about each once the service runs."
    )
    tell_restored_keys()


def _audit_export() -> None:
    """Note in the audit log that all data is copied.  Without an entry the backup is made, too."""
    try:
        audit_export("backup")
    except OperationalError as e:
        click.echo(f"The audit log has no entry of this backup: {e.orig}", err=True)


def _read_settings() -> BackupSettings:
    settings: BackupSettings = current_app.extensions["config"].backups
    return settings


def _describe(manifest: Manifest) -> None:
    for sentence in describe_backup(manifest, instance_id=current_context().instance_id):
        click.echo(sentence)
