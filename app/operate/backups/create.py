"""Make a backup: copy, check, publish, and delete those that are too many."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loguru import logger
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from app.operate.backups.manifest import (
    PART,
    BackupFailed,
    Contents,
    Manifest,
    find_manifest,
    hash_file,
    list_backups,
    list_parts,
    name_backup,
    sync,
)
from app.operate.backups.postgres import check_postgres, copy_postgres
from app.operate.backups.sqlite import check_sqlite, copy_sqlite
from app.sms.context import Context
from app.sms.operations.heartbeat import record_backup

# No backup takes that long: its process has died.
_PART_KEPT_S = 86_400.0


def create_backup(ctx: Context, folder: Path, *, kept: int = 0) -> tuple[Path, Manifest]:
    """Make a backup in a folder, which is made if it is missing.  Returns its path and manifest.

    Then deletes the oldest backups of the folder until `kept` are left; 0 keeps all.  Raises
    BackupFailed, and leaves nothing behind, if the backup cannot be made, read or stored.
    """
    made_at = ctx.now()
    path = folder.absolute() / name_backup(made_at, is_sqlite=ctx.db.is_sqlite)
    with _failing_clearly(folder):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _unfinished(path) as part:
            contents = _copy(ctx, part)
            manifest = Manifest(
                made_at=made_at,
                database="sqlite" if ctx.db.is_sqlite else "postgresql",
                bytes=part.stat().st_size,
                sha256=hash_file(part),
                contents=contents,
            )
            _publish(part, path, manifest)
        _delete_old(path.parent, kept)
    logger.bind(file=str(path), bytes=manifest.bytes).info("a backup was made")
    try:
        record_backup(ctx)
    except SQLAlchemyError as e:
        logger.opt(exception=e).warning("the time of the backup was not stored for /metrics")
    return path, manifest


@contextmanager
def _failing_clearly(folder: Path) -> Iterator[None]:
    try:
        yield
    except (BackupFailed, OSError, sqlite3.Error, DBAPIError) as e:
        reason = getattr(e, "orig", None) or e
        raise BackupFailed(f"No backup was made in {folder}: {reason}") from e


@contextmanager
def _unfinished(path: Path) -> Iterator[Path]:
    """Yield a new file for a backup that is being made; nothing of it is left afterwards."""
    part = path.with_name(path.name + PART)
    os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        yield part
    finally:
        for left in path.parent.glob(f"{part.name}*"):
            left.unlink(missing_ok=True)


def _copy(ctx: Context, part: Path) -> Contents:
    """Copy the database into a file and read the file again.  Returns its contents."""
    if ctx.db.is_sqlite:
        copy_sqlite(ctx.db, part, made_at=ctx.now())
        sync(part)
        return check_sqlite(part)
    contents = copy_postgres(ctx.db, part)
    sync(part)
    check_postgres(part)
    return contents


def _publish(part: Path, path: Path, manifest: Manifest) -> None:
    """Give a checked backup its name, and then its manifest, without which it is none."""
    written = part.with_name(f"{part.name}-manifest")
    written.write_text(manifest.to_json(), "utf-8")
    written.chmod(0o600)
    sync(written)
    part.rename(path)
    written.rename(find_manifest(path))
    sync(path.parent)


def _delete_old(folder: Path, kept: int) -> None:
    """Delete the oldest backups beyond `kept`, and what killed processes have left."""
    too_many = list(list_backups(folder))[:-kept] if kept else []
    for backup in too_many:
        find_manifest(backup).unlink()
        backup.unlink()
    for part in list_parts(folder):
        if time.time() - part.stat().st_mtime > _PART_KEPT_S:
            part.unlink(missing_ok=True)
