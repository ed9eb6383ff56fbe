"""Table of API keys."""

from datetime import datetime

from sqlalchemy import LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base
from app.db.types import NEVER_REUSE_IDS, BigId


class ApiKey(Base):
    """A key of a client; a key that has ended stays, so that lists can say who had it."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    client: Mapped[str] = mapped_column(String(64), index=True)
    # SHA-256 of the key, which is in no column.
    digest: Mapped[bytes] = mapped_column(LargeBinary(32), unique=True)
    hint: Mapped[str] = mapped_column(String(32))
    scopes: Mapped[list[str]]
    # Networks that may use it; None for all.
    networks: Mapped[list[str] | None]
    # Countries to which it may send; None for all that its client may.
    countries: Mapped[list[str] | None]
    # Requests with it are checked and not sent.
    is_test: Mapped[bool]
    created_at: Mapped[datetime]
    created_by: Mapped[str] = mapped_column(String(128))
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    # When it was used last, to within a minute.
    used_at: Mapped[datetime | None]
    # The first of the keys that replaced each other up to this one, whose caps it has; None for
    # a key that replaced none.
    origin_id: Mapped[int | None] = mapped_column(BigId)

    __table_args__ = (NEVER_REUSE_IDS,)
