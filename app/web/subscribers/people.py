"""Pages of people: search by number or name, the newest."""

from http import HTTPStatus
from typing import Any

from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from app.accounts.roles import Role
from app.errors import NotFound
from app.subscribers.context import SubscriberContext
from app.subscribers.current import current_subscriber_context
from app.subscribers.profiles.queries import Person, look_up_subscriber
from app.subscribers.profiles.schemas import SubscriberQuerySchema
from app.subscribers.profiles.search import find_by_name, list_newest
from app.subscribers.suppressions import manage
from app.web.guard import make_page_blueprint, require_role
from app.web.subscribers.wording import describe_access, read_number, show_name, show_number

blueprint = make_page_blueprint("people")

_ROWS = 50
_MAX_SEARCH = 100


@blueprint.get("/people")
@require_role(Role.VIEWER)
def list_people() -> str:
    """List the newest people."""
    query = SubscriberQuerySchema(only=("cursor",)).load(request.args.to_dict())
    page = list_newest(current_subscriber_context(), limit=_ROWS, **query)
    return _show(page.rows, cursor=page.cursor, cursor_given="cursor" in query)


@blueprint.post("/people")
@require_role(Role.AUTHOR)
def search() -> Response | str | tuple[str, HTTPStatus]:
    """Find people by a number or the beginning of a name, which stay out of the address."""
    text = request.form.get("text", "").strip()[:_MAX_SEARCH]
    if not text:
        return _show([], search=text, error="Write a number, or the beginning of a name."), (
            HTTPStatus.BAD_REQUEST
        )
    ctx = current_subscriber_context()
    if any(character.isdigit() for character in text):
        try:
            target = _find_page(ctx, read_number(text))
        except ValueError as e:
            return _show([], search=text, error=str(e)), HTTPStatus.BAD_REQUEST
        return redirect(target, HTTPStatus.SEE_OTHER) if target else _show([], search=text)
    page = find_by_name(ctx, text, limit=_ROWS)
    return _show(page.rows, search=text, has_more=page.cursor is not None)


def _find_page(ctx: SubscriberContext, phone: str) -> str | None:
    """Return the address of the page of a number: its person's, else that of its opt-out."""
    try:
        person = look_up_subscriber(ctx, phone)
    except NotFound:
        stopped = manage.look_up(ctx, phone)
        if stopped is None:
            return None
        return url_for("suppression_pages.show_one", suppression_id=stopped.public_id)
    return url_for("person.show_person", subscriber_id=person["public_id"])


def _show(rows: list[Person], **facts: Any) -> str:
    ctx = current_subscriber_context()
    people = [
        {
            "id": person["public_id"],
            "name": show_name(person),
            "number": show_number(person["phone"]),
            "access": describe_access(person, ctx.now()),
            "tags": person["tags"],
            "since": person["subscribed_at"],
        }
        for person in rows
    ]
    return render_template("subscribers/people.html", people=people, **facts)
