"""The page on which a person's details are changed, and the file of all that is stored of one."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from flask import Response as FlaskResponse
from flask import current_app, flash, jsonify, render_template, request
from marshmallow import ValidationError
from werkzeug.wrappers import Response

from app.accounts.roles import Role
from app.errors import BadInput
from app.http.files import audit_export
from app.subscribers.attributes import ATTRIBUTE_NAME
from app.subscribers.current import current_subscriber_context
from app.subscribers.imports.models import ValueType
from app.subscribers.lists.cells import read_boolean, read_number
from app.subscribers.profiles.crud import change_subscriber
from app.subscribers.profiles.person_export import export_person
from app.subscribers.profiles.queries import Person
from app.subscribers.profiles.response_schemas import PersonExportSchema
from app.subscribers.profiles.schemas import DetailsSchema
from app.web.guard import describe_actor, go_to, make_page_blueprint, require_role
from app.web.subscribers.erase import find_person
from app.web.subscribers.wording import (
    DETAIL_MISTAKES,
    VALUE_TYPES,
    list_wrong_fields,
    show_name,
    show_value,
    split_tags,
)

blueprint = make_page_blueprint("change_person")

_PLAIN = ("first_name", "last_name", "language", "time_zone")
_TABLE = "attributes"
# Begins the name of the field of an attribute.
_VALUE = "value-"
_READERS = {ValueType.NUMBER: read_number, ValueType.BOOLEAN: read_boolean}
_VALUE_MISTAKES = {ValueType.NUMBER: "Write a number.", ValueType.BOOLEAN: "Write yes or no."}


@blueprint.get("/people/<id:subscriber_id>/change")
@require_role(Role.AUTHOR)
def show_form(subscriber_id: str) -> str:
    """Show the details of a person in fields."""
    person = find_person(subscriber_id)
    return _show(person, _fill_form(person))


@blueprint.post("/people/<id:subscriber_id>/change")
@require_role(Role.AUTHOR)
def change(subscriber_id: str) -> Response | tuple[str, HTTPStatus]:
    """Change a person's details, or show what is wrong at its field; what was typed stays."""
    person, form = find_person(subscriber_id), request.form.to_dict()
    if form.get("seen") != _name_state(person):
        return _show(person, form, changed_meanwhile=True), HTTPStatus.CONFLICT
    errors: dict[str, str] = {}
    body = _make_body(person, form, errors)
    try:
        details = DetailsSchema().load(body)
        if not errors:
            ctx = current_subscriber_context()
            change_subscriber(ctx, subscriber_id, actor=describe_actor(), **details)
    except ValidationError as e:
        errors = _name_mistakes(person, e) | errors
    except BadInput as e:  # too many attributes
        errors["new_name"] = e.sentence.removeprefix("attributes: ")
    if errors:
        return _show(person, form, errors), HTTPStatus.BAD_REQUEST
    flash("Changed.\nTexts that are sent from now on use it.", "done")
    return go_to("person.show_person", subscriber_id=subscriber_id)


@blueprint.get("/people/<id:subscriber_id>/data.json")
@require_role(Role.AUTHOR)
def export(subscriber_id: str) -> FlaskResponse:
    """Give all that is stored of a person as a file."""
    find_person(subscriber_id)
    sources = current_app.extensions["person_sources"]
    data = export_person(current_subscriber_context(), subscriber_id, sources)
    audit_export(f"subscriber {subscriber_id}")
    response = jsonify(PersonExportSchema().dump(data))
    name = f"person-{subscriber_id}.json"
    response.headers["Content-Disposition"] = f"attachment; filename={name}"
    return response


def _name_state(person: Person) -> str:
    """Return what is another text once the person has changed."""
    return str(person["updated_at"].isoformat())


def _fill_form(person: Person) -> dict[str, str]:
    values = {_VALUE + name: show_value(value) for name, value in person["attributes"].items()}
    return values | {
        **{name: person[name] or "" for name in _PLAIN},
        "tags": ", ".join([*person["tags"], *person["unconfirmed_tags"]]),
        "active": "1" if person["active"] else "",
        "seen": _name_state(person),
    }


def _make_body(person: Person, form: Mapping[str, str], errors: dict[str, str]) -> dict[str, Any]:
    """Return the body that a client of the API would send: attributes only if they differ."""
    body: dict[str, Any] = {name: form.get(name, "").strip() or None for name in _PLAIN}
    return body | {
        "tags": split_tags(form.get("tags", "")),
        "active": bool(form.get("active")),
        "attributes": _read_changed(person, form, errors) | _read_new(person, form, errors),
    }


def _read_changed(
    person: Person, form: Mapping[str, str], errors: dict[str, str]
) -> dict[str, Any]:
    """Return the attributes that were typed over, each of the type that it has."""
    changed: dict[str, Any] = {}
    for name, stored in person["attributes"].items():
        field = _VALUE + name
        # A field of a page holds no line breaks.
        shown = "".join(show_value(stored).splitlines()).strip()
        text = form.get(field, shown).strip()
        if text != shown:
            changed[name] = _read_value(text, _find_type(stored), field, errors)
    return changed


def _read_new(person: Person, form: Mapping[str, str], errors: dict[str, str]) -> dict[str, Any]:
    """Return the attribute that the form adds, if any."""
    name, text = (form.get(field, "").strip() for field in ("new_name", "new_value"))
    if not name and not text:
        return {}
    if not ATTRIBUTE_NAME.fullmatch(name):
        errors["new_name"] = "Write a name of 1 to 32 letters A to Z, digits, '_', '.' or '-'."
    elif name in person["attributes"]:
        errors["new_name"] = "A value has this name already: change that one."
    elif not text:
        errors["new_value"] = "Write a value."
    chosen = form.get("new_type", "")
    value_type = ValueType(chosen) if chosen in list(ValueType) else ValueType.TEXT
    return {name: _read_value(text, value_type, "new_value", errors)}


def _find_type(value: Any) -> ValueType:
    if isinstance(value, bool):
        return ValueType.BOOLEAN
    return ValueType.NUMBER if isinstance(value, int | float) else ValueType.TEXT


def _read_value(text: str, value_type: ValueType, field: str, errors: dict[str, str]) -> Any:
    """Return a value of this type, None for an empty one; say at its field what is wrong."""
    if not text or value_type not in _READERS:
        return text or None
    try:
        return _READERS[value_type](text)
    except ValueError:
        errors[field] = _VALUE_MISTAKES[value_type]
        return None


def _name_mistakes(person: Person, error: ValidationError) -> dict[str, str]:
    """Return a sentence for each field that is wrong, by its id."""
    plain = {name: DETAIL_MISTAKES[name] for name in list_wrong_fields(error) if name != _TABLE}
    wrong = error.messages_dict.get(_TABLE, {})
    if not isinstance(wrong, Mapping):
        return plain | {"new_name": str(wrong[0])}
    return plain | {
        _VALUE + name if name in person[_TABLE] else "new_value": reasons[0]
        for name, reasons in wrong.items()
    }


def _show(
    person: Person,
    form: Mapping[str, str],
    errors: Mapping[str, str] | None = None,
    *,
    changed_meanwhile: bool = False,
) -> str:
    return render_template(
        "subscribers/change.html",
        id=person["public_id"],
        name=show_name(person, person["phone"]),
        form=dict(form) | {"seen": _name_state(person)},
        values=[(name, _VALUE + name) for name in sorted(person[_TABLE])],
        types=VALUE_TYPES,
        errors=errors or {},
        changed_meanwhile=changed_meanwhile,
    )
