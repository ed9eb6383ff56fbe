"""Tables of imports (job, file in chunks, refused cells) and the options of an import."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from sqlalchemy import JSON, BigInteger, ForeignKey, LargeBinary, String, UniqueConstraint
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, partial_index
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


class Import(Base):
    """A file whose rows become subscribers.

    `lines_scanned` counts the lines that the first pass, which records denials, has done, and
    `lines_done` those of the current pass after it; after a crash the import goes on behind them.
    `lines_done` and the counts change in the transaction that writes the rows.
    `stamp` is `updated_at` of all subscribers that the import writes, and of no other import's: it
    tells a number that the file has twice from a subscriber that existed before.
    """

    __tablename__ = "imports"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    public_id: Mapped[str] = mapped_column(String(26), unique=True)
    client: Mapped[str] = mapped_column(String(128))
    # The user who brought the file, and its name there; None for a file of the API.
    created_by: Mapped[str | None] = mapped_column(String(128))
    file_name: Mapped[str | None] = mapped_column(String(200))
    status: Mapped[ImportStatus] = mapped_column(EnumText(ImportStatus))
    options: Mapped[dict[str, Any]] = mapped_column(JSON)
    # The fields of the columns; None before the upload.
    column_mapping: Mapped[dict[str, Any] | None]
    # Size of the upload; lines are numbered from 1.
    bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    lines: Mapped[int] = mapped_column(default=0)
    lines_scanned: Mapped[int] = mapped_column(default=0, server_default=sql("0"))
    lines_done: Mapped[int] = mapped_column(default=0)
    # rows = created + updated + unchanged + merged + refused
    rows: Mapped[int] = mapped_column(default=0)
    created: Mapped[int] = mapped_column(default=0)
    updated: Mapped[int] = mapped_column(default=0)
    unchanged: Mapped[int] = mapped_column(default=0)
    merged: Mapped[int] = mapped_column(default=0)
    refused: Mapped[int] = mapped_column(default=0)
    # Rows that were taken although their number is a landline.
    landlines: Mapped[int] = mapped_column(default=0, server_default=sql("0"))
    error: Mapped[str | None] = mapped_column(String(500))
    # The upload that may write, and the worker's lease.
    upload: Mapped[str | None] = mapped_column(String(26))
    lease: Mapped[str | None] = mapped_column(String(26))
    leased_until: Mapped[datetime | None]
    stamp: Mapped[datetime | None]
    # The last turn of a worker at it, numbered over all imports: clients take turns.
    turn: Mapped[int] = mapped_column(default=0)
    # Workers in a row that ended without a commit.
    deaths: Mapped[int] = mapped_column(default=0)
    # Tags of the file that did not exist before.
    new_tags: Mapped[list[str] | None]
    created_at: Mapped[datetime]
    # Start of the current pass.
    phase_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    # When the refusals were deleted; the file is deleted when the import ends.
    purged_at: Mapped[datetime | None]

    __table_args__ = (
        partial_index("ix_imports_unfinished", "id", where="completed_at IS NULL"),
        partial_index("ix_imports_kept", "id", where="purged_at IS NULL"),
        NEVER_REUSE_IDS,
    )


class ImportChunk(Base):
    """Some whole lines of a file in UTF-8."""

    __tablename__ = "import_chunks"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    import_id: Mapped[int] = mapped_column(ForeignKey("imports.id"))
    first_line: Mapped[int]
    text: Mapped[bytes] = mapped_column(LargeBinary)

    # The name that the constraint was made with: SQLite cannot rename one.
    __table_args__ = (
        UniqueConstraint("import_id", "first_line", name="uq_import_pieces_import_id_first_line"),
    )


class ImportRefusal(Base):
    """A cell for which a row is refused, or taken with a warning; position -1 is the whole row."""

    __tablename__ = "import_refusals"

    import_id: Mapped[int] = mapped_column(ForeignKey("imports.id"), primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    header: Mapped[str] = mapped_column(String(64))
    cell: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(String(200))
    is_warning: Mapped[bool] = mapped_column(default=False, server_default=sql("false"))

    __table_args__ = ({"sqlite_with_rowid": False},)


class ImportDenial(Base):
    """A number that a row of the file denies marketing or all texts, as `Permission` says."""

    __tablename__ = "import_denials"

    import_id: Mapped[int] = mapped_column(ForeignKey("imports.id"), primary_key=True)
    phone: Mapped[str] = mapped_column(String(16), primary_key=True)
    permission: Mapped[int] = mapped_column(primary_key=True)

    __table_args__ = ({"sqlite_with_rowid": False},)


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
