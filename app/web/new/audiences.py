"""Saved audiences: a page on which they are listed, renamed and deleted."""

from http import HTTPStatus
from typing import Any

from flask import flash, render_template, request
from werkzeug.wrappers import Response

from app.accounts.roles import Role
from app.errors import BadInput, Conflict
from app.http.arguments import load_fields
from app.subscribers.audiences import saved
from app.subscribers.audiences.schemas import SavedAudienceChangeSchema, SavedAudienceQuerySchema
from app.subscribers.current import current_subscriber_context
from app.web.guard import describe_actor, go_to, make_page_blueprint, require_role
from app.web.new.conditions import say_audience
from app.web.new.frame import say_error
from app.web.words import find_zone

blueprint = make_page_blueprint("audience_pages")


@blueprint.get("/audiences")
@require_role(Role.AUTHOR)
def list_all() -> str:
    """List saved audiences with what they select."""
    return _show()


@blueprint.post("/audiences/<name>")
@require_role(Role.AUTHOR)
def rename(name: str) -> Response | tuple[str, HTTPStatus]:
    """Rename a saved audience."""
    typed = request.form.get("name", "")
    try:
        changes = load_fields(SavedAudienceChangeSchema(), {"name": typed})
        ctx = current_subscriber_context()
        saved.change_saved(ctx, name, actor=describe_actor(), **changes)
    except (BadInput, Conflict) as e:
        return _show(error=say_error(e), wrong=name, typed=typed), e.status
    flash(f"It is {changes['name']} now.\nDrafts and broadcasts that copied it stay.", "done")
    return go_to("audience_pages.list_all")


@blueprint.post("/audiences/<name>/delete")
@require_role(Role.AUTHOR)
def delete(name: str) -> Response:
    """Delete a saved audience."""
    saved.delete_saved(current_subscriber_context(), name, actor=describe_actor())
    flash(f"The audience {name} is deleted.\nIts people, drafts and broadcasts stay.", "done")
    return go_to("audience_pages.list_all")


def _show(**facts: Any) -> str:
    query = SavedAudienceQuerySchema(only=("cursor", "limit")).load(request.args.to_dict())
    page, zone = saved.list_saved(current_subscriber_context(), **query), find_zone()
    rows = [row._asdict() | {"words": say_audience(row.audience, zone)} for row in page.rows]
    return render_template("new/audiences.html", rows=rows, cursor=page.cursor, **facts)
