"""Tables of subscribers, tags, saved audiences, suppressions and the consent ledger.

subscribers    1─* subscriber_tags *─1 tags
suppressions   one row per number, by its keyed hash; the number itself unless it was erased
consent_events the ledger, a hash chain; the personal data of a link can be erased

Suppressions and consent events refer to a number, not to a subscriber, and outlive it.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnClause, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy import text as sql

from app.db.base import Base, column, partial_index
from app.db.types import NEVER_REUSE_IDS, BigId, EnumText


class Subscriber(Base, **NEVER_REUSE_IDS):
    """A person we may write to.

    `consented_at` is the time of the latest marketing consent; None without consent.
    """

    __tablename__ = "subscribers"

    id: ColumnClause[int] = column(BigId, primary_key=True)
    # Used in URLs, which must not contain a number.
    public_id: ColumnClause[str] = column(String(26), unique=True)
    phone: ColumnClause[str] = column(String(16), unique=True)
    # Whole names have two indexes over their lower case, by which a beginning is found (search.py).
    first_name: ColumnClause[str | None] = column(String(100))
    last_name: ColumnClause[str | None] = column(String(100))
    # A tag of https://www.rfc-editor.org/rfc/rfc5646, such as sv or pt-BR.
    language: ColumnClause[str | None] = column(String(16))
    # A name of the IANA time zone database.
    time_zone: ColumnClause[str | None] = column(String(64))
    attributes: ColumnClause[dict[str, Any] | None]
    active: ColumnClause[bool] = column(default=True)
    consented_at: ColumnClause[datetime | None]
    subscribed_at: ColumnClause[datetime]
    updated_at: ColumnClause[datetime]


class Tag(Base, **NEVER_REUSE_IDS):
    """A name assigned to subscribers; with `double_opt_in` they must confirm it."""

    __tablename__ = "tags"

    id: ColumnClause[int] = column(BigId, primary_key=True)
    name: ColumnClause[str] = column(String(64), unique=True)
    double_opt_in: ColumnClause[bool] = column(default=False)
    created_at: ColumnClause[datetime]


class SubscriberTag(Base, sqlite_with_rowid=False):
    """The assignment of a tag to a subscriber, without effect until it is confirmed."""

    __tablename__ = "subscriber_tags"

    tag_id: ColumnClause[int] = column(ForeignKey("tags.id"), primary_key=True)
    subscriber_id: ColumnClause[int] = column(ForeignKey("subscribers.id"), primary_key=True)
    confirmed: ColumnClause[bool] = column(default=True)
    opt_in_requested_at: ColumnClause[datetime | None]

    __table_args__ = (
        Index("ix_subscriber_tags_subscriber", "subscriber_id"),
        Index(
            "ix_subscriber_tags_unconfirmed",
            "subscriber_id",
            "tag_id",
            sqlite_where=sql("confirmed = 0"),
            postgresql_where=sql("confirmed = false"),
        ),
    )


class SavedAudience(Base, **NEVER_REUSE_IDS):
    """An audience that is saved by a name, as its JSON; broadcasts copy it."""

    __tablename__ = "audiences"

    id: ColumnClause[int] = column(BigId, primary_key=True)
    name: ColumnClause[str] = column(String(64), unique=True)
    audience: ColumnClause[dict[str, Any]]
    created_at: ColumnClause[datetime]
    # A client's name, or `people:` and a user's.
    created_by: ColumnClause[str] = column(String(128))


class Scope(StrEnum):
    """The messages that a suppressed number does not get."""

    ALL = "all"
    MARKETING = "marketing"


class Cause(StrEnum):
    """The reason of a suppression."""

    STOP = "stop"  # by a text from the phone
    CARRIER = "carrier"  # the carrier says that the person opted out (code 257)
    MANUAL = "manual"  # entered by an operator or a client
    IMPORT = "import"  # from a list of an earlier system
    ERASED = "erased"  # the person's data was erased


class Suppression(Base, **NEVER_REUSE_IDS):
    """A number that is not written to while `released_at` is None.

    Its key is the keyed hash; an erased person's number is gone (`phone` is None).  A released row
    stays, so that its times distinguish a late STOP from a new one.
    """

    __tablename__ = "suppressions"

    id: ColumnClause[int] = column(BigId, primary_key=True)
    public_id: ColumnClause[str] = column(String(26), unique=True)
    phone_hash: ColumnClause[bytes] = column(LargeBinary(32))
    phone: ColumnClause[str | None] = column(String(16))
    scope: ColumnClause[Scope] = column(EnumText(Scope))
    cause: ColumnClause[Cause] = column(EnumText(Cause))
    # The text may mean something else: suppressed until a person has reviewed it.
    needs_review: ColumnClause[bool] = column(default=False)
    suppressed_at: ColumnClause[datetime]
    released_at: ColumnClause[datetime | None]
    # A client's name, `cli`, or `phone` for the person.
    actor: ColumnClause[str] = column(String(128))
    note: ColumnClause[str | None] = column(String(200))
    # Sinch's id of the text that caused it.
    inbound: ColumnClause[str | None] = column(String(64))

    __table_args__ = (
        # The constraint's original name: SQLite cannot rename one.
        UniqueConstraint("phone_hash", name="uq_suppressions_digest"),
        partial_index("ix_suppressions_active", "phone", "scope", where="released_at IS NULL"),
        Index(
            "ix_suppressions_to_review",
            "id",
            sqlite_where=sql("needs_review = 1"),
            postgresql_where=sql("needs_review = true"),
        ),
        partial_index("ix_suppressions_nameless", "phone_hash", where="phone IS NULL"),
    )


class ConsentKind(StrEnum):
    """The kind of a consent event."""

    OPT_IN = "opt_in"  # agreed to marketing
    OPT_OUT = "opt_out"  # objected to all messages
    ASKED = "asked"  # was asked to confirm a tag
    CONFIRMED = "confirmed"  # confirmed a tag, which is also an opt-in
    RELEASED = "released"  # a suppression was released by hand


class ConsentEvent(Base):
    """One link of the ledger; only an erasure changes it.

    `commitment` is the SHA-256 of `salt` and `content`; `hash` that of the previous link's hash,
    `id`, `kind`, `at` and the commitment.  Without salt and content a link still proves that no
    link is missing, and has no personal data.
    """

    __tablename__ = "consent_events"

    id: ColumnClause[int] = column(BigId, primary_key=True, autoincrement=False)
    kind: ColumnClause[ConsentKind] = column(EnumText(ConsentKind))
    at: ColumnClause[datetime]
    phone: ColumnClause[str | None] = column(String(16))
    salt: ColumnClause[bytes | None] = column(LargeBinary(16))
    # JSON as it was hashed: phone, actor, channel, source, wording, tag.
    content: ColumnClause[str | None] = column(Text)
    commitment: ColumnClause[bytes] = column(LargeBinary(32))
    hash: ColumnClause[bytes] = column(LargeBinary(32))

    __table_args__ = (Index("ix_consent_events_phone", "phone", "id"),)
