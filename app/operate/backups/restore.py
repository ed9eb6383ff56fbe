"""Bring a backup back into an empty database, in restore mode."""

import contextlib
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from app.db.engine import Database
from app.db.facts import set_metadata
from app.db.migrating import upgrade_database
from app.db.schema import BACKUP_OF, list_revisions
from app.operate.backups.manifest import BackupFailed, Manifest, sync
from app.operate.backups.postgres import restore_postgres
from app.operate.backups.verify import verify_backup
from app.sms.context import Context
from app.sms.operations.restore import mark_restored
from app.subscribers.suppressions.respell import respell_suppressions

_BESIDE = ("", "-wal", "-shm", "-journal")


def restore_backup(
    ctx: Context, path: Path, *, actor: str, inbounds: bool = True, revoke_keys: bool = False
) -> int:
    """Bring a backup back, migrate it, and enter restore mode: see mark_restored.

    Returns the number of batches that may have been sent since.  Raises BackupFailed if the backup
    is damaged or not ours, or if there is a database already.
    """
    manifest = verify_backup(path)
    _require_fit(ctx, manifest)

    def enter(ctx: Context) -> int:
        upgrade_database(ctx.db, instance_id=ctx.instance_id)
        respell_suppressions(ctx.subscriber_context)
        return mark_restored(ctx, actor=actor, inbounds=inbounds, revoke_keys=revoke_keys)

    if ctx.db.is_sqlite:
        return _restore_sqlite(ctx, path, enter)
    restore_postgres(ctx.db, path)
    with ctx.db.write() as tx:
        # As a copy of SQLite is marked: nothing is sent if the rest fails.
        set_metadata(tx, BACKUP_OF, manifest.made_at.isoformat())
    return enter(ctx)


def _require_fit(ctx: Context, manifest: Manifest) -> None:
    contents = manifest.contents
    if (manifest.database == "sqlite") != ctx.db.is_sqlite:
        raise BackupFailed(f"The backup is of {manifest.database}, DATABASE_URL is not")
    if contents.revision not in list_revisions():
        raise BackupFailed("The backup is of a newer program: deploy that one first")
    if contents.instance_id != ctx.instance_id:
        raise BackupFailed(
            f"The backup belongs to another instance: set INSTANCE_ID={contents.instance_id}"
        )


def _restore_sqlite(ctx: Context, path: Path, enter: Callable[[Context], int]) -> int:
    """Prepare the database beside its place, and `enter` there; it gets its name after that."""
    target = Path(ctx.db.engine.url.database or "")
    for suffix in _BESIDE:
        if (left := Path(f"{target}{suffix}")).exists():
            raise BackupFailed(f"{left} exists: move the old database away first, all its files")
    part = target.with_name(f"{target.name}.restoring")
    _remove(part)  # a restore that was killed may have left a journal, which SQLite would apply
    try:
        shutil.copyfile(path, part)
        part.chmod(0o600)
        db = Database(f"sqlite:///{part}", pool_size=1)
        try:
            in_doubt = enter(replace(ctx, db=db))
        finally:
            db.close()
        if os.path.exists(f"{part}-wal"):
            raise BackupFailed("The backup was not restored: another process has it open")
        sync(part)
        part.rename(target)
        sync(target.parent)
    except (OSError, DBAPIError) as e:
        raise BackupFailed(f"The backup was not restored: {getattr(e, 'orig', None) or e}") from e
    finally:
        _remove(part)
    return in_doubt


def _remove(database: Path) -> None:
    """Delete the files of an SQLite database, as far as there are any."""
    for suffix in _BESIDE:
        with contextlib.suppress(OSError):
            os.unlink(f"{database}{suffix}")
