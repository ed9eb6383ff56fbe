"""The page on which a person is added by hand."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import flash, render_template, request
from marshmallow import ValidationError
from werkzeug.wrappers import Response

from app.accounts.roles import Role
from app.errors import Conflict
from app.subscribers.current import current_subscriber_context
from app.subscribers.profiles.crud import create_subscriber
from app.subscribers.profiles.schemas import SubscriberSchema
from app.web.guard import describe_actor, go_to, make_page_blueprint, require_role
from app.web.subscribers.wording import DETAIL_MISTAKES, list_wrong_fields, read_number, split_tags

blueprint = make_page_blueprint("add_person")

_PLAIN = ("first_name", "last_name", "language", "time_zone")
_CONSENT = ("wording", "source")
_FIELDS = ("phone", *_PLAIN, "tags", "agreed", *_CONSENT)
_SENTENCES = DETAIL_MISTAKES | {"phone": "No country has numbers like this one."}


@blueprint.get("/people/add")
@require_role(Role.AUTHOR)
def show_form() -> str:
    """Show the empty form."""
    return render_template("subscribers/add.html", form={}, errors={})


@blueprint.post("/people/add")
@require_role(Role.AUTHOR)
def add() -> Response | tuple[str, HTTPStatus]:
    """Add a person, or show what is wrong at its field; what was typed stays."""
    form = {name: request.form.get(name, "") for name in _FIELDS}
    errors: dict[str, str] = {}
    body = _make_body(form, errors)
    try:
        entry = SubscriberSchema().load(body)
    except ValidationError as e:
        errors = {name: _SENTENCES[name] for name in list_wrong_fields(e)} | errors
    if errors:
        page = render_template("subscribers/add.html", form=form, errors=errors)
        return page, HTTPStatus.BAD_REQUEST
    try:
        person = create_subscriber(current_subscriber_context(), entry, actor=describe_actor())
        person_id = person["public_id"]
        flash("Added.\nTexts can go to this number from now on.", "done")
    except Conflict as e:
        person_id = e.facts["subscriber_id"]
        flash("Nothing was added.\nThe number is one of this person already.", "warn")
    return go_to("person.show_person", subscriber_id=person_id)


def _make_body(form: Mapping[str, str], errors: dict[str, str]) -> dict[str, Any]:
    """Return the body that a client of the API would send: fields that are empty are left out."""
    body: dict[str, Any] = {name: form[name] for name in _PLAIN if form[name].strip()}
    body["tags"] = split_tags(form["tags"])
    if form["agreed"]:
        body["consent"] = {name: form[name] for name in _CONSENT}
    try:
        body["phone"] = read_number(form["phone"], check=True)
    except ValueError as e:
        errors["phone"] = str(e)
    return body
