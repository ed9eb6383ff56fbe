"""Stored texts, by name and version."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select

from app.db.base import table_of
from app.errors import NotFound
from app.sms.template_models import StoredTemplate, TemplateVersion

_TEMPLATES, _VERSIONS = table_of(StoredTemplate), table_of(TemplateVersion)
_LOAD = (
    select(_TEMPLATES.c.name, _TEMPLATES.c.version.label("newest"), _VERSIONS)
    .join(_VERSIONS, _VERSIONS.c.template_id == _TEMPLATES.c.id)
    .where(_TEMPLATES.c.name == bindparam("this"), _TEMPLATES.c.archived_at.is_(None))
)


@dataclass(frozen=True, slots=True)
class Template:
    """One version of a stored text; `texts` are by language."""

    name: str
    version: int
    texts: Mapping[str, str]
    default_language: str


def load_template(tx: Connection, name: str, version: int | None) -> Template:
    """A version of a template, the newest without one.  Raises NotFound."""
    for row in tx.execute(_LOAD, {"this": name}):
        if row.version == (version or row.newest):
            return Template(row.name, row.version, row.texts, row.default_language)
    raise NotFound(f"There is no template {name}{f' version {version}' if version else ''}.")
