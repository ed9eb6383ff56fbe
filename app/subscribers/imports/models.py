"""Tables of imports (job, file in chunks, refused cells) and the options of an import."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnClause,
    ForeignKey,
    LargeBinary,
    String,
    UniqueConstraint,
)
from sqlalchemy import text as sql

from app.db.base import Base, column, partial_index
from app.db.types import NEVER_REUSE_IDS, BigId, EnumText
from app.subscribers.profiles.entry import GivenConsent


class ImportStatus(StrEnum):
    """Status of an import."""

    WAITING = "waiting"  # for its file, or for the rest of the file
    CHECKING = "checking"  # all or nothing: goes through the file without writing
    WRITING = "writing"  # rows become subscribers
    COMPLETE = "complete"  # every row was written or refused
    REFUSED = "refused"  # all or nothing: a row is bad, nothing was written
    CANCELLED = "cancelled"  # a client stopped it; rows that were written stay
    FAILED = "failed"  # `error` says why; rows that were written stay


class Import(Base, **NEVER_REUSE_IDS):
    """A file whose rows become subscribers.

    `lines_scanned` counts the lines that the first pass, which records denials, has done, and
    `lines_done` those of the current pass after it; after a crash the import goes on behind them.
    `lines_done` and the counts change in the transaction that writes the rows.
    `stamp` is `updated_at` of all subscribers that the import writes, and of no other import's: it
    tells a number that the file has twice from a subscriber that existed before.
    """

    __tablename__ = "imports"

    id: ColumnClause[int] = column(BigId, primary_key=True)
    public_id: ColumnClause[str] = column(String(26), unique=True)
    client: ColumnClause[str] = column(String(128))
    # The user who brought the file, and its name there; None for a file of the API.
    created_by: ColumnClause[str | None] = column(String(128))
    file_name: ColumnClause[str | None] = column(String(200))
    status: ColumnClause[ImportStatus] = column(EnumText(ImportStatus))
    options: ColumnClause[dict[str, Any]] = column(JSON)
    # The fields of the columns; None before the upload.
    column_mapping: ColumnClause[dict[str, Any] | None]
    # Size of the upload; lines are numbered from 1.
    bytes: ColumnClause[int] = column(BigInteger, default=0)
    lines: ColumnClause[int] = column(default=0)
    lines_scanned: ColumnClause[int] = column(default=0, server_default=sql("0"))
    lines_done: ColumnClause[int] = column(default=0)
    # rows = created + updated + unchanged + merged + refused
    rows: ColumnClause[int] = column(default=0)
    created: ColumnClause[int] = column(default=0)
    updated: ColumnClause[int] = column(default=0)
    unchanged: ColumnClause[int] = column(default=0)
    merged: ColumnClause[int] = column(default=0)
    refused: ColumnClause[int] = column(default=0)
    # Rows that were taken although their number is a landline.
    landlines: ColumnClause[int] = column(default=0, server_default=sql("0"))
    error: ColumnClause[str | None] = column(String(500))
    # The upload that may write, and the worker's lease.
    upload: ColumnClause[str | None] = column(String(26))
    lease: ColumnClause[str | None] = column(String(26))
    leased_until: ColumnClause[datetime | None]
    stamp: ColumnClause[datetime | None]
    # The last turn of a worker at it, numbered over all imports: clients take turns.
    turn: ColumnClause[int] = column(default=0)
    # Workers in a row that ended without a commit.
    deaths: ColumnClause[int] = column(default=0)
    # Tags of the file that did not exist before.
    new_tags: ColumnClause[list[str] | None]
    created_at: ColumnClause[datetime]
    # Start of the current pass.
    phase_at: ColumnClause[datetime | None]
    completed_at: ColumnClause[datetime | None]
    # When the refusals were deleted; the file is deleted when the import ends.
    purged_at: ColumnClause[datetime | None]

    __table_args__ = (
        partial_index("ix_imports_unfinished", "id", where="completed_at IS NULL"),
        partial_index("ix_imports_kept", "id", where="purged_at IS NULL"),
    )


class ImportChunk(Base):
    """Some whole lines of a file in UTF-8."""

    __tablename__ = "import_chunks"

    id: ColumnClause[int] = column(BigId, primary_key=True)
    import_id: ColumnClause[int] = column(ForeignKey("imports.id"))
    first_line: ColumnClause[int]
    text: ColumnClause[bytes] = column(LargeBinary)

    # The name that the constraint was made with: SQLite cannot rename one.
    __table_args__ = (
        UniqueConstraint("import_id", "first_line", name="uq_import_pieces_import_id_first_line"),
    )


class ImportRefusal(Base, sqlite_with_rowid=False):
    """A cell for which a row is refused, or taken with a warning; position -1 is the whole row."""

    __tablename__ = "import_refusals"

    import_id: ColumnClause[int] = column(ForeignKey("imports.id"), primary_key=True)
    line: ColumnClause[int] = column(primary_key=True)
    position: ColumnClause[int] = column(primary_key=True)
    header: ColumnClause[str] = column(String(64))
    cell: ColumnClause[str] = column(String(64))
    reason: ColumnClause[str] = column(String(200))
    is_warning: ColumnClause[bool] = column(default=False, server_default=sql("false"))


class ImportDenial(Base, sqlite_with_rowid=False):
    """A number that a row of the file denies marketing or all texts, as `Permission` says."""

    __tablename__ = "import_denials"

    import_id: ColumnClause[int] = column(ForeignKey("imports.id"), primary_key=True)
    phone: ColumnClause[str] = column(String(16), primary_key=True)
    permission: ColumnClause[int] = column(primary_key=True)


class Mode(StrEnum):
    """Handling of bad rows."""

    SKIP_BAD = "skip_bad"  # the other rows are written
    ALL_OR_NOTHING = "all_or_nothing"  # no row is written


class Purpose(StrEnum):
    """Purpose of the messages to the people of a file."""

    TRANSACTIONAL = "transactional"
    MARKETING = "marketing"  # every row needs a consent


class ValueType(StrEnum):
    """Type of an attribute's values."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """Options of an import, given before the upload.

    `columns` are headers by field.  `tags` and `consent` apply to every row; a row may override the
    consent.  `types` are by attribute, without its prefix.  `encoding` is for a file without a byte
    order mark.
    """

    mode: Mode = Mode.SKIP_BAD
    purpose: Purpose = Purpose.TRANSACTIONAL
    columns: Mapping[str, str] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    country: str | None = None
    without_plus: bool = False
    check_numbers: bool = True
    encoding: str = "utf-8"
    consent: GivenConsent | None = None
    types: Mapping[str, ValueType] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the options as the database keeps them."""
        kept = asdict(self)
        if self.consent and self.consent.at:
            kept["consent"]["at"] = self.consent.at.isoformat()
        return kept

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """Return the options that `to_json` wrote."""
        consent = kept["consent"]
        made: dict[str, Any] = {"mode": Mode(kept["mode"]), "purpose": Purpose(kept["purpose"])}
        made |= {name: tuple(kept[name]) for name in ("ignore", "tags")}
        if consent:
            at = consent["at"] and datetime.fromisoformat(consent["at"])
            made["consent"] = GivenConsent(**{**consent, "at": at})
        return cls(**{**kept, **made})
