"""Verify a backup: its hash, that all of it can be read, and what a restore would bring back."""

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from app.db.schema import list_revisions
from app.operate.backups.manifest import BackupFailed, Contents, Manifest, hash_file
from app.operate.backups.postgres import check_postgres
from app.operate.backups.sqlite import check_sqlite

# Tables whose rows say what a backup is worth, and their nouns.
_NOUNS = {
    "broadcasts": ("broadcast", "broadcasts"),
    "messages": ("message", "messages"),
    "inbounds": ("text from a phone", "texts from phones"),
    "subscribers": ("person", "people"),
    "suppressions": ("suppression", "suppressions"),
    "consent_events": ("entry of the consent ledger", "entries of the consent ledger"),
    "users": ("user", "users"),
}


def verify_backup(path: Path) -> Manifest:
    """Compare a backup with its manifest and read all of it.  Returns the manifest.

    Raises BackupFailed with the reason if it is not what was made, or cannot be restored.
    """
    manifest = Manifest.read(path)
    try:
        _compare(path, manifest)
        if manifest.database == "sqlite":
            check_sqlite(path)
        else:
            check_postgres(path)
    except OSError as e:
        raise BackupFailed(f"{path} cannot be read: {e}") from e
    except DBAPIError as e:
        raise BackupFailed(f"{path} is damaged: {e.orig}") from e
    return manifest


def _compare(path: Path, manifest: Manifest) -> None:
    size = path.stat().st_size
    if size != manifest.bytes:
        raise BackupFailed(
            f"{path} is cut or altered: it has {size:,} bytes, its manifest says {manifest.bytes:,}"
        )
    if hash_file(path) != manifest.sha256:
        raise BackupFailed(f"{path} is altered: its SHA-256 is not that of its manifest")


def describe_backup(manifest: Manifest, *, instance_id: str) -> Iterator[str]:
    """Yield sentences about a backup and what a restore would bring back."""
    contents = manifest.contents
    kind = {"sqlite": "an SQLite", "postgresql": "a PostgreSQL"}[manifest.database]
    yield (
        f"A backup of {kind} database, made {manifest.made_at:%Y-%m-%d %H:%M:%S} UTC, "
        f"{manifest.bytes:,} bytes."
    )
    known = ", ".join(_count_rows(contents))
    yield f"A restore brings back {known}."
    yield f"{_describe_counts(contents)} {_describe_revision(contents)}"
    if contents.instance_id != instance_id:
        yield f"It is another instance's: set INSTANCE_ID={contents.instance_id} to restore it."


def _count_rows(contents: Contents) -> Iterator[str]:
    for name, (one, many) in _NOUNS.items():
        if name in contents.rows:
            count = contents.rows[name]
            yield f"{count:,} {one if count == 1 else many}"


def _describe_counts(contents: Contents) -> str:
    if contents.violations is None:
        return "Its counts were not checked: its tables are of an older version."
    if contents.violations:
        return f"Its counts do not add up: {'; '.join(contents.violations[:3])}."
    return "Its counts add up."


def _describe_revision(contents: Contents) -> str:
    known = list_revisions()
    if contents.revision not in known:
        return f"It is of a newer program: migration {contents.revision}, ours is {known[-1]}."
    later = len(known) - 1 - known.index(contents.revision)
    if later:
        return f"It is at migration {contents.revision}: a restore migrates it to {known[-1]}."
    return f"It is at migration {contents.revision}, this program's."
