"""Table of unfinished erasures."""

from datetime import datetime

from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base


class Erasure(Base):
    """An erasure that waits for open broadcasts; the row is deleted when the erasure is complete.

    `remaining` names the data that the last pass could not erase yet.
    """

    __tablename__ = "erasures"

    phone: Mapped[str] = mapped_column(String(16), primary_key=True)
    requested_at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(128))
    remaining: Mapped[list[str]] = mapped_column(JSON)

    __table_args__ = ({"sqlite_with_rowid": False},)
