"""Tables of templates: templates 1─* template_versions."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnClause, ForeignKey, String, UniqueConstraint

from app.db.base import Base, column
from app.db.types import BigId


class StoredTemplate(Base):
    """A client's named text; `version` is the newest.  An archived one is not used any more."""

    __tablename__ = "templates"

    id: ColumnClause[int] = column(BigId, primary_key=True)
    client: ColumnClause[str] = column(String(64))
    name: ColumnClause[str] = column(String(64))
    version: ColumnClause[int]
    archived_at: ColumnClause[datetime | None]

    __table_args__ = (UniqueConstraint("client", "name"),)


class TemplateVersion(Base):
    """One version of a template's texts.  The row never changes: broadcasts refer to it.

    `texts` are by language, a short tag of https://www.rfc-editor.org/rfc/rfc5646.
    """

    __tablename__ = "template_versions"

    template_id: ColumnClause[int] = column(ForeignKey("templates.id"), primary_key=True)
    version: ColumnClause[int] = column(primary_key=True)
    texts: ColumnClause[dict[str, Any]]
    default_language: ColumnClause[str] = column(String(16))
    created_at: ColumnClause[datetime]
    client: ColumnClause[str] = column(String(64))
