"""Table of API keys."""

from datetime import datetime

from sqlalchemy import ColumnClause, LargeBinary, String

from app.db.base import Base, column
from app.db.types import NEVER_REUSE_IDS, BigId


class ApiKey(Base, **NEVER_REUSE_IDS):
    """A key of a client; a key that has ended stays, so that lists can say who had it."""

    __tablename__ = "api_keys"

    id: ColumnClause[int] = column(BigId, primary_key=True)
    client: ColumnClause[str] = column(String(64), index=True)
    # SHA-256 of the key, which is in no column.
    digest: ColumnClause[bytes] = column(LargeBinary(32), unique=True)
    hint: ColumnClause[str] = column(String(32))
    scopes: ColumnClause[list[str]]
    # Networks that may use it; None for all.
    networks: ColumnClause[list[str] | None]
    # Countries to which it may send; None for all that its client may.
    countries: ColumnClause[list[str] | None]
    # Requests with it are checked and not sent.
    is_test: ColumnClause[bool]
    created_at: ColumnClause[datetime]
    created_by: ColumnClause[str] = column(String(128))
    expires_at: ColumnClause[datetime | None]
    revoked_at: ColumnClause[datetime | None]
    # When it was used last, to within a minute.
    used_at: ColumnClause[datetime | None]
    # The first of the keys that replaced each other up to this one, whose caps it has; None for
    # a key that replaced none.
    origin_id: ColumnClause[int | None] = column(BigId)
