"""Pages of tags: list with their numbers of people, make, rename, delete."""

from http import HTTPStatus

from flask import flash, render_template, request
from werkzeug.wrappers import Response

from app.accounts.roles import Role
from app.errors import BadInput, Conflict
from app.http.arguments import load_fields
from app.subscribers.attributes import read_tag
from app.subscribers.current import current_subscriber_context
from app.subscribers.tags import tags
from app.subscribers.tags.schemas import TagChangeSchema, TagQuerySchema, TagSchema
from app.web.guard import describe_actor, go_to, make_page_blueprint, require_role
from app.web.words import people

blueprint = make_page_blueprint("tag_pages")

_ROWS = 50
# An argument of the address: the page is shown with its counts, which may take seconds.
_COUNTED = "counted"


@blueprint.get("/tags")
@require_role(Role.VIEWER)
def list_all() -> str:
    """List tags with their numbers of people."""
    return _show_list("", "")


@blueprint.post("/tags")
@require_role(Role.AUTHOR)
def create() -> Response | tuple[str, HTTPStatus]:
    """Create a tag."""
    name = request.form.get("name", "")
    body = {"name": name, "double_opt_in": "double_opt_in" in request.form}
    try:
        new = load_fields(TagSchema(), body)
        tags.create_tag(current_subscriber_context(), actor=describe_actor(), **new)
    except (BadInput, Conflict) as e:
        return _show_list(name, _explain(e)), e.status
    flash(f"The tag {new['name']} is made.\nNo one has it yet.", "done")
    return go_to("tag_pages.list_all")


@blueprint.get("/tags/<tag>")
@require_role(Role.VIEWER)
def show(tag: str) -> str:
    """Show a tag: its numbers, and what can be done."""
    return _show(tag, None, "")


@blueprint.post("/tags/<tag>")
@require_role(Role.AUTHOR)
def change(tag: str) -> Response | tuple[str, HTTPStatus]:
    """Rename a tag, or switch its double opt-in."""
    name = request.form.get("name", "")
    body = {"name": name, "double_opt_in": "double_opt_in" in request.form}
    try:
        changes = load_fields(TagChangeSchema(), body)
        tags.change_tag(
            current_subscriber_context(), read_tag(tag), actor=describe_actor(), **changes
        )
    except (BadInput, Conflict) as e:
        return _show(tag, name, _explain(e)), e.status
    flash("Kept.\nPeople who have the tag keep it.", "done")
    return go_to("tag_pages.show", tag=changes["name"])


@blueprint.get("/tags/<tag>/delete")
@require_role(Role.AUTHOR)
def ask_to_delete(tag: str) -> str:
    """Show what a deletion does before it is done."""
    return _show(tag, None, "", is_deleting=True)


@blueprint.post("/tags/<tag>/delete")
@require_role(Role.AUTHOR)
def delete(tag: str) -> Response:
    """Delete a tag, and take it from the people who have it."""
    name = read_tag(tag)
    removed = tags.delete_tag(current_subscriber_context(), name, actor=describe_actor())
    flash(f"The tag {name} is deleted.\n{_say_removed(removed)}", "done")
    return go_to("tag_pages.list_all")


def _say_removed(removed: int) -> str:
    return (
        f"{people(removed)} had it. All of them are still there." if removed else "No one had it."
    )


def _show_list(name: str, error: str) -> str:
    given = request.args.to_dict()
    counted = bool(given.pop(_COUNTED, ""))
    query = TagQuerySchema().load({"limit": str(_ROWS)} | given)
    page = tags.list_tags(current_subscriber_context(), counted=counted, **query)
    return render_template(
        "conversations/tags.html",
        rows=page.rows,
        start=request.args.get("cursor"),
        cursor=page.cursor,
        counted=counted,
        name=name,
        error=error,
    )


def _show(tag: str, typed: str | None, error: str, *, is_deleting: bool = False) -> str:
    ctx, counted = current_subscriber_context(), _COUNTED in request.args
    found = tags.view_tag(ctx, read_tag(tag), counted=counted)
    return render_template(
        "conversations/tag.html",
        tag=found,
        counted=counted,
        name=found["name"] if typed is None else typed,
        error=error,
        is_deleting=is_deleting,
        had_by=tags.count_assignments(ctx, found["name"]) if is_deleting else 0,
    )


def _explain(error: BadInput | Conflict) -> str:
    """Return the reason for the name, which has all the reasons there are."""
    fields = error.facts.get("fields") or {}
    reasons = fields.get("name") or fields.get("tags")
    return str(reasons[0]) if reasons else error.sentence
