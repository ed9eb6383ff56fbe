"""Pages of templates: list, write, edit with all versions, archive."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from flask import flash, render_template, request
from marshmallow import Schema, fields, validate
from sqlalchemy import Row
from werkzeug.wrappers import Response

from app.accounts.roles import Role
from app.config.keys import PEOPLE_CLIENT
from app.db.viewer import Viewer
from app.errors import BadInput, Conflict
from app.http.arguments import find_first, load_fields
from app.http.reasons import capitalize
from app.sms.content import templates
from app.sms.content.placeholders import PLACEHOLDER
from app.sms.content.template_schemas import (
    TemplateQuerySchema,
    TemplateSchema,
    TemplateTextsSchema,
)
from app.sms.context import Context
from app.sms.current import current_context
from app.text.lookalikes import find_non_gsm_characters
from app.text.segments import measure_text
from app.web.guard import describe_actor, go_to, make_page_blueprint, require_role

blueprint = make_page_blueprint("template_pages")

_ROWS = 50
# Empty rows of the form beyond the languages that a template has.
_SPARE = 2
# The column of a version's author is so long.
_MAX_ACTOR = 64
_MAX_SHOWN = 64


class VersionQuerySchema(Schema):
    """The version of a template to show."""

    version = fields.Integer(validate=validate.Range(1, 1_000_000))


@dataclass(frozen=True, slots=True)
class TextRow:
    """A row of the form: a language and its text as typed, and what is wrong with it."""

    language: str = ""
    text: str = ""
    error: str = ""

    @property
    def size(self) -> str:
        """The size of the text in words; "" for an empty one."""
        return describe_size(self.text) if self.text.strip() else ""


@blueprint.get("/templates")
@require_role(Role.VIEWER)
def list_all() -> str:
    """List templates, each in its newest version."""
    query = TemplateQuerySchema().load({"limit": str(_ROWS)} | request.args.to_dict())
    page = templates.list_templates(current_context(), **query)
    rows = [
        {
            "client": row.client,
            "name": row.name,
            "version": row.version,
            "languages": ", ".join(_order(row)),
            "size": describe_size(row.texts[row.default_language]),
            "created_at": row.created_at,
        }
        for row in page.rows
    ]
    return render_template("conversations/templates.html", rows=rows, cursor=page.cursor)


@blueprint.get("/templates/new")
@require_role(Role.AUTHOR)
def start_template() -> str:
    """Show an empty form."""
    return _show_form(None, "", [TextRow("en"), *[TextRow()] * _SPARE], {})


@blueprint.post("/templates/new")
@require_role(Role.AUTHOR)
def create() -> Response | tuple[str, HTTPStatus]:
    """Create a template of the pages."""
    name, rows = request.form.get("name", ""), _read_rows()
    try:
        new = load_fields(TemplateSchema(), {"name": name} | _make_body(rows))
        templates.create_template(
            current_context(), **new, client=PEOPLE_CLIENT, actor=_name_actor()
        )
    except BadInput as e:
        errors = e.facts["fields"]
        return _show_form(None, name, _mark(rows, errors), errors), e.status
    except Conflict as e:
        errors = {"name": e.sentence}
        return _show_form(None, name, rows, errors), HTTPStatus.CONFLICT
    flash(f"The template {new['name']} is kept.\nA new broadcast can use it.", "done")
    return go_to("template_pages.show", client=PEOPLE_CLIENT, name=new["name"])


@blueprint.get("/templates/<client>/<name>")
@require_role(Role.VIEWER)
def show(client: str, name: str) -> str:
    """Show a version of a template, by default the newest."""
    query = VersionQuerySchema().load(request.args.to_dict())
    row = templates.view_template(_as(client), name, query.get("version"))
    texts = [
        {
            "language": language,
            "pieces": PLACEHOLDER.split(row.texts[language]),
            "size": describe_size(row.texts[language]),
            "costly": find_costly(row.texts[language]),
        }
        for language in _order(row)
    ]
    return render_template("conversations/template.html", template=row, texts=texts)


@blueprint.get("/templates/<client>/<name>/edit")
@require_role(Role.AUTHOR)
def edit(client: str, name: str) -> str:
    """Show the form with the newest texts."""
    row = templates.view_template(_as(client), name)
    rows = [TextRow(language, row.texts[language]) for language in _order(row)]
    return _show_form(row, name, [*rows, *[TextRow()] * _SPARE], {})


@blueprint.post("/templates/<client>/<name>/edit")
@require_role(Role.AUTHOR)
def change(client: str, name: str) -> Response | tuple[str, HTTPStatus]:
    """Add a version, unless nothing changes."""
    ctx, rows = _as(client), _read_rows()
    before = templates.view_template(ctx, name)
    try:
        content = load_fields(TemplateTextsSchema(), _make_body(rows))
    except BadInput as e:
        errors = e.facts["fields"]
        return _show_form(before, name, _mark(rows, errors), errors), e.status
    stored = templates.replace_template(ctx, name, content, actor=_name_actor())
    if stored.version == before.version:
        flash("Nothing was changed.\nThe texts are those of the newest version.", "done")
    else:
        flash(f"Version {stored.version} is kept.\nBroadcasts made from now on use it.", "done")
    return go_to("template_pages.show", client=client, name=name)


@blueprint.post("/templates/<client>/<name>/archive")
@require_role(Role.AUTHOR)
def archive(client: str, name: str) -> Response:
    """Archive a template."""
    templates.archive_template(_as(client), name, actor=_name_actor())
    flash(f"The template {name} is archived.\nNo new broadcast uses it.", "done")
    return go_to("template_pages.list_all")


def describe_size(text: str) -> str:
    """Return the parts, encoding and characters of a text, without what placeholders add.

    >>> describe_size("Hi ${name}"), describe_size("Snow ❄")
    ('1 part, GSM-7, 3 characters and what the placeholders add', '1 part, UCS-2, 6 characters')
    """
    bare = PLACEHOLDER.sub("", text)
    size = measure_text(bare)
    parts = f"{size.parts} part" if size.parts == 1 else f"{size.parts} parts"
    more = " and what the placeholders add" if bare != text else ""
    return f"{parts}, {size.encoding.value}, {len(bare)} characters{more}"


def find_costly(text: str) -> str:
    """Return the characters that make parts short, each with a cheaper spelling; "" without any.

    >>> find_costly("Don’t ❄")
    "’ (use '), ❄"
    """
    found = find_non_gsm_characters(PLACEHOLDER.sub("", text))
    return ", ".join(
        f"{costly.character} (use {costly.look_alike})" if costly.look_alike else costly.character
        for costly in found
    )


def _as(client: str) -> Context:
    """Return the context of the client that a template belongs to: names are unique there."""
    return replace(current_context(), viewer=Viewer(client, sees_all=False))


def _order(row: Row[Any]) -> list[str]:
    """Return the languages of a template, the default first."""
    default = row.default_language
    return [default, *sorted(language for language in row.texts if language != default)]


def _name_actor() -> str:
    return describe_actor()[:_MAX_ACTOR]


def _read_rows() -> list[TextRow]:
    form = request.form
    pairs = zip(form.getlist("language"), form.getlist("text"), strict=False)
    return [TextRow(language.strip(), text.replace("\r\n", "\n")) for language, text in pairs]


def _make_body(rows: list[TextRow]) -> dict[str, Any]:
    """Return the fields of a template.  Raises BadInput for a language that is given twice."""
    given = [row for row in rows if row.language or row.text.strip()]
    languages = [row.language for row in given]
    twice = [language for language in languages if languages.count(language) > 1]
    if twice:
        raise BadInput("A language is given twice.", fields={"texts": {twice[0]: ["Given twice."]}})
    return {
        "texts": {row.language: row.text for row in given},
        "default_language": languages[0] if languages else "",
    }


def _mark(rows: list[TextRow], errors: Mapping[str, Any]) -> list[TextRow]:
    """Add the reasons to the rows that they are about, or to the first row."""
    reasons = errors.get("texts") or errors.get("default_language") or {}
    by_language = reasons if isinstance(reasons, Mapping) else {}
    marked = [
        replace(row, error=_say(by_language[row.language[:_MAX_SHOWN]]))
        if row.language[:_MAX_SHOWN] in by_language and (row.language or row.text.strip())
        else row
        for row in rows
    ] or [TextRow()]
    if reasons and not any(row.error for row in marked):
        is_empty = not any(row.text.strip() for row in rows)
        marked[0] = replace(marked[0], error="Write the text." if is_empty else _say(reasons))
    return marked


def _show_form(
    row: Row[Any] | None, name: str, rows: list[TextRow], errors: Mapping[str, Any]
) -> str:
    mistakes = {f"text-{at}": own.error for at, own in enumerate(rows, 1) if own.error}
    if "name" in errors:
        mistakes = {"name": _say(errors["name"])} | mistakes
    return render_template(
        "conversations/template_form.html", template=row, name=name, errors=mistakes, rows=rows
    )


def _say(reasons: Any) -> str:
    """Return the first of the reasons of a field, as a sentence begins."""
    return capitalize(find_first(reasons))
