"""Manifests of backups, and the files of a folder of backups."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import ClassVar, Self

from app.errors import ClarionError

SUFFIX = ".json"
PART = ".part"
_PREFIX = "clarion-"
_FORMAT = 1


class BackupFailed(ClarionError):
    """No backup was made, or one cannot be restored."""

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Contents of a snapshot of the database.

    `audit_head` is the hash of the last seal of the audit log.  `violations` are the checks of its
    counts that fail.  Both are None for tables of an older version, which this program cannot read.
    """

    revision: str
    instance_id: str | None
    rows: Mapping[str, int]
    audit_head: str | None
    violations: list[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A backup as it was made."""

    made_at: datetime
    database: str
    bytes: int
    sha256: str
    contents: Contents
    format: int = _FORMAT

    def to_json(self) -> str:
        """Return the text of the manifest's file."""
        return json.dumps(asdict(self) | {"made_at": self.made_at.isoformat()}, indent=2) + "\n"

    @classmethod
    def read(cls, backup: Path) -> Self:
        """Read the manifest of a backup.  Raises BackupFailed if there is none of ours."""
        path = find_manifest(backup)
        try:
            read = json.loads(path.read_bytes())
            made_at = datetime.fromisoformat(read.pop("made_at"))
            contents = Contents(**read.pop("contents"))
            manifest = cls(made_at=made_at, contents=contents, **read)
        except FileNotFoundError as e:
            raise BackupFailed(
                f"{path} is missing: without its manifest nothing shows that a backup is whole"
            ) from e
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as e:
            raise BackupFailed(f"{path} cannot be read as a manifest: {e}") from e
        if manifest.format != _FORMAT:
            raise BackupFailed(f"{path} is of another version of Clarion: format {manifest.format}")
        return manifest


def name_backup(made_at: datetime, *, is_sqlite: bool) -> str:
    """Return the name of a backup; names sort by time."""
    ending = ".db" if is_sqlite else ".dump"
    return f"{_PREFIX}{made_at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}{ending}"


def find_manifest(backup: Path) -> Path:
    """Return the path of a backup's manifest."""
    return backup.with_name(backup.name + SUFFIX)


def list_backups(folder: Path) -> Iterator[Path]:
    """Yield the backups of a folder that have a manifest, oldest first."""
    for path in sorted(folder.glob(f"{_PREFIX}*{SUFFIX}")):
        backup = path.with_name(path.name.removesuffix(SUFFIX))
        if backup.exists():
            yield backup


def list_parts(folder: Path) -> Iterator[Path]:
    """Yield the unfinished files of a folder, which a killed process has left."""
    yield from folder.glob(f"{_PREFIX}*{PART}*")


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Have a file or folder written to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
