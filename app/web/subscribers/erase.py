"""The page that asks once more before a person is erased."""

from http import HTTPStatus

from flask import flash, render_template, request
from werkzeug.wrappers import Response

from app.accounts.roles import Role
from app.errors import NotFound
from app.sms.current import current_context
from app.sms.privacy.erase import erase_subscriber
from app.subscribers.current import current_subscriber_context
from app.subscribers.profiles.queries import Person, view_subscriber
from app.web.guard import describe_actor, go_to, make_page_blueprint, require_role
from app.web.subscribers.wording import show_name

blueprint = make_page_blueprint("erase_person")

_DIGITS = 4


@blueprint.get("/people/<id:subscriber_id>/erase")
@require_role(Role.ADMIN)
def ask(subscriber_id: str) -> str:
    """Ask for the last digits of the number."""
    return _show(find_person(subscriber_id))


@blueprint.post("/people/<id:subscriber_id>/erase")
@require_role(Role.ADMIN)
def erase(subscriber_id: str) -> Response | tuple[str, HTTPStatus]:
    """Erase a person for good, if the last digits of the number are right."""
    person = find_person(subscriber_id)
    digits = request.form.get("digits", "").strip()
    if digits != person["phone"][-_DIGITS:]:
        error = "These are not the last four digits of the number. Nothing was erased."
        return _show(person, digits=digits, error=error), HTTPStatus.BAD_REQUEST
    erased = erase_subscriber(current_context(), subscriber_id, actor=describe_actor())
    if erased.remaining:
        flash(
            "Stopped, and erased in part.\nThe number is still in a broadcast or an import that "
            "has not ended. It goes from there by itself when that ends.",
            "done",
        )
    else:
        flash("Erased.\nNothing of the person is left but counts and the sealed mark.", "done")
    return go_to("people.list_people")


def find_person(subscriber_id: str) -> Person:
    """Return a person.  Raises NotFound with a sentence for the page."""
    try:
        return view_subscriber(current_subscriber_context(), subscriber_id)
    except NotFound:
        raise NotFound("There is no such person, or their data was erased.") from None


def _show(person: Person, *, digits: str = "", error: str = "") -> str:
    return render_template(
        "subscribers/erase.html",
        id=person["public_id"],
        name=show_name(person, person["phone"]),
        phone=person["phone"],
        digits=digits,
        error=error,
    )
