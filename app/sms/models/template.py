"""Tables of templates: templates 1─* template_versions."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base
from app.db.types import BigId


class StoredTemplate(Base):
    """A client's named text; `version` is the newest.  An archived one is not used any more."""

    __tablename__ = "templates"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    client: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(64))
    version: Mapped[int]
    archived_at: Mapped[datetime | None]

    __table_args__ = (UniqueConstraint("client", "name"),)


class TemplateVersion(Base):
    """One version of a template's texts.  The row never changes: broadcasts refer to it.

    `texts` are by language, a short tag of https://www.rfc-editor.org/rfc/rfc5646.
    """

    __tablename__ = "template_versions"

    template_id: Mapped[int] = mapped_column(ForeignKey("templates.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    texts: Mapped[dict[str, Any]]
    default_language: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    client: Mapped[str] = mapped_column(String(64))
