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
from app.db.viewer import Viewer
from app.errors import Conflict, NotFound
from app.pagination import Page, make_page
from app.sms.context import Context
from app.sms.models.template import StoredTemplate, TemplateVersion

TEMPLATE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# The largest number of an integer column.
_MAX_VERSION = 2**31 - 1

_TEMPLATES, _VERSIONS = table_of(StoredTemplate), table_of(TemplateVersion)


class TemplateMissing(NotFound):
    """There is no such template, or it is archived."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateTexts:
    """The texts of a template by language, and the language for all other recipients."""

    texts: Mapping[str, str]
    default_language: str


def load_template(tx: Connection, viewer: Viewer, name: str, version: int | None) -> Row[Any]:
    """Return a version of a template for a new broadcast, by default the newest.

    Raises NotFound, also for an archived template.
    """
    template = find_template(tx, viewer, name, version)
    if template.archived_at is not None:
        raise TemplateMissing(f"The template {name} is archived.")
    return template


def find_template(tx: Connection, viewer: Viewer, name: str, version: int | None) -> Row[Any]:
    """Return a version of a template, by default the newest, archived or not.

    Raises as _find_stored, and NotFound for an unknown version.
    """
    stored = _find_stored(tx, viewer, name)
    wanted = stored.version if version is None else min(version, _MAX_VERSION)
    query = _select_versions().where(_TEMPLATES.c.id == stored.id, _VERSIONS.c.version == wanted)
    row = tx.execute(query).first()
    if row is None:
        raise TemplateMissing(f"There is no template {name} version {version}.")
    return row


def _find_stored(tx: Connection, viewer: Viewer, name: str, *, lock: bool = False) -> Row[Any]:
    """Return the row of a template that the viewer sees, its own before any other client's.

    Raises NotFound.  Raises Conflict if only other clients have it, and several do.
    """
    if not TEMPLATE_NAME.fullmatch(name):
        raise TemplateMissing("There is no template of such a name.")
    query = select(_TEMPLATES).where(_TEMPLATES.c.name == name, viewer.sees(_TEMPLATES.c.client))
    rows = tx.execute(query.with_for_update() if lock else query).all()
    own = [row for row in rows if row.client == viewer.client]
    if len(own or rows) > 1:
        raise Conflict(f"Several clients have a template {name}: use the key of one of them.")
    if not rows:
        raise TemplateMissing(f"There is no template {name}.")
    return (own or rows)[0]


def view_template(ctx: Context, name: str, version: int | None = None) -> Row[Any]:
    """Read a version of a template, by default the newest.  Raises NotFound."""
    with ctx.db.read() as tx:
        return find_template(tx, ctx.viewer, name, version)


def view_usable_template(ctx: Context, name: str) -> Row[Any]:
    """Read the newest version of a template for a new broadcast.  Raises as load_template."""
    with ctx.db.read() as tx:
        return load_template(tx, ctx.viewer, name, None)


def _select_versions() -> Select[Any]:
    return (
        select(
            _TEMPLATES.c.client,
            _TEMPLATES.c.name,
            _TEMPLATES.c.archived_at,
            _TEMPLATES.c.version.label("newest"),
            *(column for column in _VERSIONS.c if column.name != "client"),
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
        ctx.viewer.sees(_TEMPLATES.c.client),
    )
    with ctx.db.read() as tx:
        rows = tx.execute(query.limit(limit + 1)).all()
    return make_page(rows, limit, key="template_id")


def create_template(
    ctx: Context, name: str, content: TemplateTexts, *, client: str, actor: str | None = None
) -> Row[Any]:
    """Create a client's template; an archived one of this name comes back with its next version.

    `actor` writes it, by default the client.  Raises Conflict for a name that the client uses.
    """
    own = Viewer(client, sees_all=False)
    with ctx.db.write() as tx:
        values = {"client": client, "name": name, "version": 0, "archived_at": None}
        new = insert_new(tx, StoredTemplate, **values)
        stored = _find_stored(tx, own, name, lock=True)
        if not new and stored.archived_at is None:
            raise Conflict(f"There is a template {name} already.")
        return _add_version(tx, ctx, stored, content, actor=actor or client)


def replace_template(ctx: Context, name: str, content: TemplateTexts, *, actor: str) -> Row[Any]:
    """Add a version with these texts, unless the newest has equal ones.

    Raises NotFound for an unknown or archived template.
    """
    with ctx.db.write() as tx:
        stored = _find_stored(tx, ctx.viewer, name, lock=True)
        newest = load_template(tx, ctx.viewer, name, None)
        if TemplateTexts(texts=newest.texts, default_language=newest.default_language) == content:
            return newest
        return _add_version(tx, ctx, stored, content, actor=actor)


def archive_template(ctx: Context, name: str, *, actor: str) -> None:
    """Archive a template; broadcasts accepted with it are sent as they are.  Raises NotFound."""
    with ctx.db.write() as tx:
        stored = _find_stored(tx, ctx.viewer, name, lock=True)
        if stored.archived_at is not None:
            raise TemplateMissing(f"The template {name} is archived.")
        archived = update(_TEMPLATES).where(_TEMPLATES.c.id == stored.id)
        tx.execute(archived.values(archived_at=ctx.now()))
        _write_audit(tx, ctx, stored, stored.version, actor=actor, action="archive template")


def _add_version(
    tx: Connection, ctx: Context, stored: Row[Any], content: TemplateTexts, *, actor: str
) -> Row[Any]:
    version = stored.version + 1
    row = {
        "template_id": stored.id,
        "version": version,
        "texts": dict(content.texts),
        "default_language": content.default_language,
        "created_at": ctx.now(),
        "client": actor,
    }
    tx.execute(insert(_VERSIONS), row)
    newest = update(_TEMPLATES).where(_TEMPLATES.c.id == stored.id)
    tx.execute(newest.values(version=version, archived_at=None))
    _write_audit(tx, ctx, stored, version, actor=actor, action="write template")
    return find_template(tx, Viewer(stored.client, sees_all=False), stored.name, version)


def _write_audit(
    tx: Connection, ctx: Context, stored: Row[Any], version: int, *, actor: str, action: str
) -> None:
    facts = {"version": version, "client": stored.client}
    write_audit(tx, ctx.now(), actor, action, stored.name, **facts)
    bound = logger.bind(template=stored.name, actor=actor, action=action, **facts)
    bound.info("a template was changed")
