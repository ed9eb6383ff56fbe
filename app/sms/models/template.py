"""Tables of templates: templates 1─* template_versions."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base
from app.db.types import BigId


class StoredTemplate(Base):
    """A named text; `version` is the newest.  An archived template cannot be used any more."""

    __tablename__ = "templates"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    version: Mapped[int]
    archived_at: Mapped[datetime | None]


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
