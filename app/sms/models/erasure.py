"""The table of erasures that are not finished."""

from datetime import datetime

from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base


class Erasure(Base):
    """A person whose data is to go, while some of it is still needed; gone itself at the end.

    `left` names what was still there when it was last looked at.
    """

    __tablename__ = "erasures"

    phone: Mapped[str] = mapped_column(String(16), primary_key=True)
    requested_at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(128))
    remaining: Mapped[list[str]] = mapped_column(JSON)

    __table_args__ = ({"sqlite_with_rowid": False},)
