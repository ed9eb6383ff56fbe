"""The tables of imports: each its job, its file in pieces, and the cells it refuses."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base
from app.db.types import NEVER_REUSE_IDS, BigId, EnumText
from app.subscribers.profiles.entry import GivenConsent


class ImportStatus(StrEnum):
    """Where an import stands."""

    WAITING = "waiting"  # for its file, or for the rest of it
    CHECKING = "checking"  # of all or nothing: whether every row can be taken
    WRITING = "writing"  # its rows become subscribers
    COMPLETE = "complete"  # every row was taken or refused
    REFUSED = "refused"  # of all or nothing: a row is bad, nothing was written
    CANCELLED = "cancelled"  # somebody stopped it; what was written stays
    FAILED = "failed"  # `error` says why; what was written stays


class Import(Base):
    """A file that becomes subscribers.

    `lines_done` is how far the present pass through the file has come: where the next one begins
    after a crash.  What a pass has found so far is counted in the transaction that writes it.
    `stamp` is the time that all it writes bears, and no other import's: by it a number that the
    file gives twice is told from one that was known before.
    """

    __tablename__ = "imports"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    public_id: Mapped[str] = mapped_column(String(26), unique=True)
    client: Mapped[str] = mapped_column(String(128))
    status: Mapped[ImportStatus] = mapped_column(EnumText(ImportStatus))
    options: Mapped[dict[str, Any]] = mapped_column(JSON)
    # What each column is for; None before the file is there.
    column_mapping: Mapped[dict[str, Any] | None]
    # As they came; of the lines the first has number 1.
    bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    lines: Mapped[int] = mapped_column(default=0)
    lines_done: Mapped[int] = mapped_column(default=0)
    # rows = created + updated + unchanged + merged + refused
    rows: Mapped[int] = mapped_column(default=0)
    created: Mapped[int] = mapped_column(default=0)
    updated: Mapped[int] = mapped_column(default=0)
    unchanged: Mapped[int] = mapped_column(default=0)
    merged: Mapped[int] = mapped_column(default=0)
    refused: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None] = mapped_column(String(500))
    # Whose upload counts, and who works on it until when.
    upload: Mapped[str | None] = mapped_column(String(26))
    lease: Mapped[str | None] = mapped_column(String(26))
    leased_until: Mapped[datetime | None]
    stamp: Mapped[datetime | None]
    created_at: Mapped[datetime]
    # When the present pass began.
    phase_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]
    # When its file and its refusals were deleted.
    purged_at: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "ix_imports_unfinished",
            "id",
            sqlite_where=sql("completed_at IS NULL"),
            postgresql_where=sql("completed_at IS NULL"),
        ),
        Index(
            "ix_imports_kept",
            "id",
            sqlite_where=sql("forgotten_at IS NULL"),
            postgresql_where=sql("forgotten_at IS NULL"),
        ),
        NEVER_REUSE_IDS,
    )


class ImportChunk(Base):
    """Some lines of a file, in UTF-8, each ended by a line feed."""

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
    """A cell for which a row is refused; one for the whole row has position -1."""

    __tablename__ = "import_refusals"

    import_id: Mapped[int] = mapped_column(ForeignKey("imports.id"), primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    header: Mapped[str] = mapped_column(String(64))
    cell: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(String(200))

    __table_args__ = ({"sqlite_with_rowid": False},)


class Mode(StrEnum):
    """What becomes of a file with bad rows."""

    SKIP_BAD = "skip_bad"  # the others are taken
    ALL_OR_NOTHING = "all_or_nothing"  # nothing is


class Purpose(StrEnum):
    """What its people are written to for."""

    TRANSACTIONAL = "transactional"
    MARKETING = "marketing"  # every row needs a consent


class ValueType(StrEnum):
    """What the values of an attribute are."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """Said once, before the file comes.

    `columns` are titles by field; `tags` and `consent` hold for every row, a row's own consent
    before it; `types` are by attribute, without its prefix; `encoding` is what the file is in where
    it has no mark of its own.
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
        """As they are kept."""
        consent = self.consent
        return {
            "mode": self.mode.value,
            "purpose": self.purpose.value,
            "columns": dict(self.columns),
            "ignore": list(self.ignore),
            "tags": list(self.tags),
            "country": self.country,
            "without_plus": self.without_plus,
            "check_numbers": self.check_numbers,
            "encoding": self.encoding,
            "consent": consent and asdict(consent) | {"at": consent.at and consent.at.isoformat()},
            "types": dict(self.types),
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """From how they are kept."""
        consent = kept["consent"]
        made = {
            "mode": Mode(kept["mode"]),
            "purpose": Purpose(kept["purpose"]),
            "ignore": tuple(kept["ignore"]),
            "tags": tuple(kept["tags"]),
            "consent": consent
            and GivenConsent(**{**consent, "at": datetime.fromisoformat(consent["at"])}),
            "types": {name: ValueType(value) for name, value in kept["types"].items()},
        }
        return cls(**{**kept, **made})
