"""Stored texts, by name and version.  A version never changes: broadcasts keep to theirs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from loguru import logger
from sqlalchemy import Connection, Row, bindparam, insert, select, update

from app.db.audit import write_audit
from app.db.base import table_of
from app.db.engine import insert_new
from app.errors import Conflict, NotFound
from app.pagination import Page, make_page
from app.sms.context import Context
from app.sms.models.template import StoredTemplate, TemplateVersion

TEMPLATE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# The largest number that our columns hold.
_MAX_VERSION = 2**31 - 1

_TEMPLATES, _VERSIONS = table_of(StoredTemplate), table_of(TemplateVersion)
# Made once: to make a statement costs several times what it takes to run one.
_HOLD = select(_TEMPLATES).where(_TEMPLATES.c.name == bindparam("this")).with_for_update()
_WITH_VERSION = (
    select(
        _TEMPLATES.c.name,
        _TEMPLATES.c.archived_at,
        _TEMPLATES.c.version.label("newest"),
        _VERSIONS,
    )
    .join(_VERSIONS, _VERSIONS.c.template_id == _TEMPLATES.c.id)
    .order_by(_TEMPLATES.c.id)
)
_NEWEST = _WITH_VERSION.where(_VERSIONS.c.version == _TEMPLATES.c.version)
_NEWEST_OF = _NEWEST.where(_TEMPLATES.c.name == bindparam("this"))
_ONE_OF = _WITH_VERSION.where(
    _TEMPLATES.c.name == bindparam("this"), _VERSIONS.c.version == bindparam("number")
)
_LIST = _NEWEST.where(_TEMPLATES.c.archived_at.is_(None), _TEMPLATES.c.id > bindparam("after"))
_ADD_VERSION = insert(_VERSIONS)
_CHANGE = update(_TEMPLATES).where(_TEMPLATES.c.id == bindparam("this"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateTexts:
    """What a template says: texts by language, of which one is for all others."""

    texts: Mapping[str, str]
    default_language: str


@dataclass(frozen=True, slots=True)
class Template:
    """One version of a stored text; `texts` are by language.

    `newest` is the last version there is; `archived_at` is since when it is not sent anew.
    """

    name: str
    version: int
    texts: Mapping[str, str]
    default_language: str
    created_at: datetime
    client: str
    newest: int
    archived_at: datetime | None


def load_template(tx: Connection, name: str, version: int | None) -> Template:
    """A version of a template to be sent, the newest without one.

    Raises NotFound, also for a template that is archived.
    """
    template = find_template(tx, name, version)
    if template.archived_at is not None:
        raise NotFound(f"The template {name} is archived.")
    return template


def find_template(tx: Connection, name: str, version: int | None) -> Template:
    """A version of a template, the newest without one, archived or not.  Raises NotFound."""
    row = None
    if not TEMPLATE_NAME.fullmatch(name):
        raise NotFound("There is no template of such a name.")
    if version is None:
        row = tx.execute(_NEWEST_OF, {"this": name}).first()
    elif version <= _MAX_VERSION:
        row = tx.execute(_ONE_OF, {"this": name, "number": version}).first()
    if row is None:
        raise NotFound(f"There is no template {name}{f' version {version}' if version else ''}.")
    return _make(row)


def view_template(ctx: Context, name: str, version: int | None = None) -> Template:
    """The same in a look of its own."""
    with ctx.db.read() as tx:
        return find_template(tx, name, version)


def list_templates(ctx: Context, *, cursor: int = 0, limit: int = 50) -> Page[Template]:
    """List templates that are not archived, each in its newest version."""
    with ctx.db.read() as tx:
        rows = tx.execute(_LIST.limit(limit + 1), {"after": cursor}).all()
    page = make_page(rows, limit, key="template_id")
    return Page([_make(row) for row in page.rows], page.cursor)


def create_template(ctx: Context, name: str, wording: TemplateTexts, *, client: str) -> Template:
    """A new template; one that was archived is there again, with its next version.

    Raises Conflict for a name that is in use.
    """
    with ctx.db.write() as tx:
        new = insert_new(tx, StoredTemplate, name=name, version=0, archived_at=None)
        stored = _hold(tx, name)
        if not new and stored.archived_at is None:
            raise Conflict(f"There is a template {name} already.")
        return _add_version(tx, ctx, stored, wording, client=client)


def replace_template(ctx: Context, name: str, wording: TemplateTexts, *, client: str) -> Template:
    """A template that says this from now on, in a new version unless it said so before.

    Raises NotFound for one that there is not, or that is archived.
    """
    with ctx.db.write() as tx:
        stored = _hold(tx, name)
        newest = load_template(tx, name, None)
        if TemplateTexts(texts=newest.texts, default_language=newest.default_language) == wording:
            return newest
        return _add_version(tx, ctx, stored, wording, client=client)


def archive_template(ctx: Context, name: str, *, client: str) -> None:
    """Send a template no more; what was accepted with it goes out as it is.  Raises NotFound."""
    with ctx.db.write() as tx:
        stored = _hold(tx, name)
        if stored.archived_at is not None:
            raise NotFound(f"The template {name} is archived.")
        tx.execute(_CHANGE, {"this": stored.id, "archived_at": ctx.now()})
        _note(tx, ctx, name, stored.version, client=client, action="archive template")


def _hold(tx: Connection, name: str) -> Row[Any]:
    """The template, which nobody else changes before this transaction ends.  Raises NotFound."""
    row = tx.execute(_HOLD, {"this": name}).first()
    if row is None:
        raise NotFound(f"There is no template {name}.")
    return row


def _add_version(
    tx: Connection, ctx: Context, stored: Row[Any], wording: TemplateTexts, *, client: str
) -> Template:
    version = stored.version + 1
    values = {
        "template_id": stored.id,
        "version": version,
        "texts": dict(wording.texts),
        "default_language": wording.default_language,
        "created_at": ctx.now(),
        "client": client,
    }
    tx.execute(_ADD_VERSION, values)
    tx.execute(_CHANGE, {"this": stored.id, "version": version, "archived_at": None})
    _note(tx, ctx, stored.name, version, client=client, action="write template")
    return find_template(tx, stored.name, version)


def _note(
    tx: Connection, ctx: Context, name: str, version: int, *, client: str, action: str
) -> None:
    facts = {"version": version}
    write_audit(tx, now=ctx.now(), actor=client, action=action, subject=name, facts=facts)
    logger.bind(template=name, client=client, action=action, **facts).info("a template was changed")


def _make(row: Row[Any]) -> Template:
    return Template(
        name=row.name,
        version=row.version,
        texts=row.texts,
        default_language=row.default_language,
        created_at=row.created_at,
        client=row.client,
        newest=row.newest,
        archived_at=row.archived_at,
    )
