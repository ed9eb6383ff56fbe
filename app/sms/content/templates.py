"""Stored texts by name and version.  A version never changes: broadcasts keep theirs.

A row has one version of a template, the number of its `newest` one, and `archived_at`: an archived
template is not used for new broadcasts.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, Select, insert, select, update

from app.db.audit import write_audit
from app.db.base import table_of
from app.db.engine import insert_new
from app.errors import Conflict, NotFound
from app.pagination import Page, make_page
from app.sms.context import Context
from app.sms.models.template import StoredTemplate, TemplateVersion

TEMPLATE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# The largest number of an integer column.
_MAX_VERSION = 2**31 - 1

_TEMPLATES, _VERSIONS = table_of(StoredTemplate), table_of(TemplateVersion)


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateTexts:
    """The texts of a template by language, and the language for all other recipients."""

    texts: Mapping[str, str]
    default_language: str


def load_template(tx: Connection, name: str, version: int | None) -> Row[Any]:
    """Return a version of a template for a new broadcast, by default the newest.

    Raises NotFound, also for an archived template.
    """
    template = find_template(tx, name, version)
    if template.archived_at is not None:
        raise NotFound(f"The template {name} is archived.")
    return template


def find_template(tx: Connection, name: str, version: int | None) -> Row[Any]:
    """Return a version of a template, by default the newest, archived or not.  Raises NotFound."""
    if not TEMPLATE_NAME.fullmatch(name):
        raise NotFound("There is no template of such a name.")
    wanted = _TEMPLATES.c.version if version is None else min(version, _MAX_VERSION)
    query = _select_versions().where(_TEMPLATES.c.name == name, _VERSIONS.c.version == wanted)
    row = tx.execute(query).first()
    if row is None:
        raise NotFound(f"There is no template {name}{f' version {version}' if version else ''}.")
    return row


def view_template(ctx: Context, name: str, version: int | None = None) -> Row[Any]:
    """Read a version of a template, by default the newest.  Raises NotFound."""
    with ctx.db.read() as tx:
        return find_template(tx, name, version)


def _select_versions() -> Select[Any]:
    return (
        select(
            _TEMPLATES.c.name,
            _TEMPLATES.c.archived_at,
            _TEMPLATES.c.version.label("newest"),
            _VERSIONS,
        )
        .join(_VERSIONS, _VERSIONS.c.template_id == _TEMPLATES.c.id)
        .order_by(_TEMPLATES.c.id)
    )


def list_templates(ctx: Context, *, cursor: int = 0, limit: int = 50) -> Page[Row[Any]]:
    """List templates that are not archived, each in its newest version."""
    query = _select_versions().where(
        _VERSIONS.c.version == _TEMPLATES.c.version,
        _TEMPLATES.c.archived_at.is_(None),
        _TEMPLATES.c.id > cursor,
    )
    with ctx.db.read() as tx:
        rows = tx.execute(query.limit(limit + 1)).all()
    return make_page(rows, limit, key="template_id")


def create_template(ctx: Context, name: str, content: TemplateTexts, *, client: str) -> Row[Any]:
    """Create a template; an archived one of this name comes back with its next version.

    Raises Conflict for a name that is in use.
    """
    with ctx.db.write() as tx:
        new = insert_new(tx, StoredTemplate, name=name, version=0, archived_at=None)
        stored = _lock_template(tx, name)
        if not new and stored.archived_at is None:
            raise Conflict(f"There is a template {name} already.")
        return _add_version(tx, ctx, stored, content, client=client)


def replace_template(ctx: Context, name: str, content: TemplateTexts, *, client: str) -> Row[Any]:
    """Add a version with these texts, unless the newest has equal ones.

    Raises NotFound for an unknown or archived template.
    """
    with ctx.db.write() as tx:
        stored = _lock_template(tx, name)
        newest = load_template(tx, name, None)
        if TemplateTexts(texts=newest.texts, default_language=newest.default_language) == content:
            return newest
        return _add_version(tx, ctx, stored, content, client=client)


def archive_template(ctx: Context, name: str, *, client: str) -> None:
    """Archive a template; broadcasts accepted with it are sent as they are.  Raises NotFound."""
    with ctx.db.write() as tx:
        stored = _lock_template(tx, name)
        if stored.archived_at is not None:
            raise NotFound(f"The template {name} is archived.")
        archived = update(_TEMPLATES).where(_TEMPLATES.c.id == stored.id)
        tx.execute(archived.values(archived_at=ctx.now()))
        _write_audit(tx, ctx, name, stored.version, client=client, action="archive template")


def _lock_template(tx: Connection, name: str) -> Row[Any]:
    """Lock the template's row.  Raises NotFound."""
    query = select(_TEMPLATES).where(_TEMPLATES.c.name == name).with_for_update()
    row = tx.execute(query).first()
    if row is None:
        raise NotFound(f"There is no template {name}.")
    return row


def _add_version(
    tx: Connection, ctx: Context, stored: Row[Any], content: TemplateTexts, *, client: str
) -> Row[Any]:
    version = stored.version + 1
    row = {
        "template_id": stored.id,
        "version": version,
        "texts": dict(content.texts),
        "default_language": content.default_language,
        "created_at": ctx.now(),
        "client": client,
    }
    tx.execute(insert(_VERSIONS), row)
    newest = update(_TEMPLATES).where(_TEMPLATES.c.id == stored.id)
    tx.execute(newest.values(version=version, archived_at=None))
    _write_audit(tx, ctx, stored.name, version, client=client, action="write template")
    return find_template(tx, stored.name, version)


def _write_audit(
    tx: Connection, ctx: Context, name: str, version: int, *, client: str, action: str
) -> None:
    facts = {"version": version}
    write_audit(tx, now=ctx.now(), actor=client, action=action, subject=name, facts=facts)
    logger.bind(template=name, client=client, action=action, **facts).info("a template was changed")
