"""Pages of people: search by number or name, the newest."""

from contextlib import suppress
from http import HTTPStatus
from typing import Any

from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from app.accounts.roles import Role
from app.errors import NotFound
from app.subscribers.current import current_subscriber_context
from app.subscribers.profiles.queries import Person, look_up_subscriber
from app.subscribers.profiles.schemas import SubscriberQuerySchema
from app.subscribers.profiles.search import find_by_name, list_newest
from app.subscribers.suppressions import manage
from app.web.guard import current_user, make_page_blueprint, require_role
from app.web.searches import MAX_SEARCH, find_search, go_to_search
from app.web.subscribers.wording import describe_person, has_digit, read_number

blueprint = make_page_blueprint("people")

_ROWS = 50


@blueprint.get("/people")
@require_role(Role.VIEWER)
def list_people() -> Response | str:
    """List the newest people, or those whom a search has found."""
    text = find_search()
    if text and current_user().role.includes(Role.AUTHOR):
        return _show_found(text)
    given = {name: value for name, value in request.args.items() if name != "search"}
    query = SubscriberQuerySchema(only=("cursor",)).load(given)
    page = list_newest(current_subscriber_context(), limit=_ROWS, **query)
    return _show(page.rows, cursor=page.cursor, cursor_given="cursor" in query)


@blueprint.post("/people")
@require_role(Role.AUTHOR)
def search() -> Response | tuple[str, HTTPStatus]:
    """Lead to the person with a number, or to those with the beginning of a name."""
    text, target = request.form.get("text", "").strip()[:MAX_SEARCH], None
    try:
        if not text:
            raise ValueError("Write a number, or the beginning of a name.")
        if has_digit(text):
            target = _find_page(read_number(text))
    except ValueError as e:
        return _show([], search=text, error=str(e)), HTTPStatus.BAD_REQUEST
    if target:
        return redirect(target, HTTPStatus.SEE_OTHER)
    return go_to_search("people.list_people", text)


def _show_found(text: str) -> Response | str:
    """Show the people with a name; a number that was no one's may be someone's by now."""
    if has_digit(text):
        with suppress(ValueError):  # a national number, once no country is set any more
            if target := _find_page(read_number(text)):
                return redirect(target)
        return _show([], search=text)
    page = find_by_name(current_subscriber_context(), text, limit=_ROWS)
    return _show(page.rows, search=text, has_more=page.cursor is not None)


def _find_page(phone: str) -> str | None:
    """Return the address of the page of a number: its person's, else that of its opt-out."""
    ctx = current_subscriber_context()
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
    people = [describe_person(person, ctx.now()) for person in rows]
    return render_template("subscribers/people.html", people=people, **facts)
