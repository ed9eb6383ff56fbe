"""The page of one person: details, texts both ways, consents; stop and allow texts."""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import flash, render_template, request
from marshmallow import ValidationError
from werkzeug.wrappers import Response

from app.accounts.roles import Role
from app.errors import BadInput
from app.http.arguments import collect_errors
from app.http.fields import Cursor
from app.phone.country import UNKNOWN, find_country
from app.phone.country_names import name_country
from app.sms.current import current_context
from app.subscribers.consent.verify import read_history
from app.subscribers.current import current_subscriber_context
from app.subscribers.profiles.crud import change_subscriber
from app.subscribers.profiles.queries import Person
from app.subscribers.profiles.schemas import DetailsSchema
from app.subscribers.suppressions.schemas import NewSuppressionSchema, ReleaseSchema
from app.subscribers.tags.tags import list_tag_names
from app.web.guard import describe_actor, go_to, make_page_blueprint, require_role
from app.web.subscribers.erase import find_person
from app.web.subscribers.suppressions import allow_texts, stop_texts
from app.web.subscribers.thread import ThreadPage, read_thread
from app.web.subscribers.wording import (
    NO_NOTE,
    describe_access,
    explain_stop,
    say_cause,
    say_event,
    show_name,
    show_value,
)
from app.web.words import clock_time

blueprint = make_page_blueprint("person")

# More are not offered while one is typed.
_MAX_TAGS = 300
_LABELS = (("first_name", "First name"), ("last_name", "Last name"), ("language", "Language"))


@blueprint.get("/people/<id:subscriber_id>")
@require_role(Role.AUTHOR)
def show_person(subscriber_id: str) -> str:
    """Show what is stored of a person, and what can be done."""
    return _show(find_person(subscriber_id))


@blueprint.get("/people/<id:subscriber_id>/thread")
@require_role(Role.AUTHOR)
def show_thread(subscriber_id: str) -> str:
    """Show the thread of a person, the part of the page that moves."""
    person = find_person(subscriber_id)
    events = read_history(current_subscriber_context(), person["phone"]).events
    return render_template(
        "subscribers/thread.html", id=subscriber_id, **_describe_thread(person, events)
    )


@blueprint.post("/people/<id:subscriber_id>/suppress")
@require_role(Role.AUTHOR)
def suppress(subscriber_id: str) -> Response | tuple[str, HTTPStatus]:
    """Stop marketing, or every text, to a person."""
    person = find_person(subscriber_id)
    form = {name: request.form.get(name, "") for name in ("scope", "note")}
    try:
        body = NewSuppressionSchema().load(form | {"phone": person["phone"]})
    except ValidationError as e:
        return _show_mistakes(person, form, explain_stop(e))
    stop_texts(person["phone"], scope=body["scope"], note=body["note"])
    flash("Stopped.\nIt holds over every import. It is kept with your name.", "done")
    return go_to("person.show_person", subscriber_id=subscriber_id)


@blueprint.post("/people/<id:subscriber_id>/tags")
@require_role(Role.AUTHOR)
def add_tag(subscriber_id: str) -> Response | tuple[str, HTTPStatus]:
    """Give a person a tag, beside those that they have."""
    person, typed = find_person(subscriber_id), request.form.get("tag", "")
    tags = [*person["tags"], *person["unconfirmed_tags"]]
    try:
        details = DetailsSchema().load({"tags": [*tags, typed]})
        change_subscriber(
            current_subscriber_context(), subscriber_id, actor=describe_actor(), **details
        )
    except ValidationError as e:
        error = next(iter(collect_errors(e).values()))
        return _show_mistakes(person, {"tag": typed}, {"tag": error})
    except BadInput as e:
        return _show_mistakes(person, {"tag": typed}, {"tag": f"{e.sentence}."})
    flash("Changed.\nBroadcasts to the tag reach them from now on.", "done")
    return go_to("person.show_person", subscriber_id=subscriber_id)


@blueprint.post("/people/<id:subscriber_id>/release")
@require_role(Role.OPERATOR)
def release(subscriber_id: str) -> Response | tuple[str, HTTPStatus]:
    """Allow texts to a person again.  Without a note nothing is done."""
    person = find_person(subscriber_id)
    form = {"note": request.form.get("note", "")}
    try:
        body = ReleaseSchema().load(form)
    except ValidationError:
        return _show_mistakes(person, form, {"release-note": NO_NOTE})
    if person["suppression"] is None:
        flash("Nothing was done.\nTexts were allowed already.", "warn")
        return go_to("person.show_person", subscriber_id=subscriber_id)
    allow_texts(person["suppression"].public_id, note=body["note"])
    return go_to("person.show_person", subscriber_id=subscriber_id)


def _show_mistakes(
    person: Person, form: dict[str, str], errors: dict[str, str]
) -> tuple[str, HTTPStatus]:
    """Show the page with what is wrong, by the ids of its fields; what was typed stays."""
    return _show(person, errors=errors, form=form), HTTPStatus.BAD_REQUEST


def _show(person: Person, **facts: Any) -> str:
    ctx = current_subscriber_context()
    history, now = read_history(ctx, person["phone"]), ctx.now()
    suppression = person["suppression"]
    return render_template(
        "subscribers/person.html",
        id=person["public_id"],
        name=show_name(person, person["phone"]),
        person=person,
        access=describe_access(person, now),
        details=_list_details(person),
        history=[_show_event(event, now) for event in history.events],
        fault=history.fault,
        suppression=suppression,
        cause=say_cause(suppression, now) if suppression else "",
        seen_at=now,
        tag_names=list_tag_names(ctx)[:_MAX_TAGS],
        **_describe_thread(person, history.events),
        **facts,
    )


def _show_event(event: Mapping[str, Any], now: datetime) -> dict[str, str]:
    bold, sentence = say_event(event)
    return {"time": clock_time(event["at"], now), "bold": bold, "sentence": sentence}


def _list_details(person: Person) -> list[tuple[str, str]]:
    """Return what is stored of a person, as labels and values."""
    details = [(label, person[name]) for name, label in _LABELS]
    details.append(("Country", _find_country(person["phone"])))
    details.append(("Zone", person["time_zone"]))
    details += sorted(person["attributes"].items())
    details.append(("Active", None if person["active"] else "no"))
    return [(label, show_value(value)) for label, value in details if value is not None]


def _find_country(phone: str) -> str | None:
    """Return the country of a number; None for one of no country."""
    country = find_country(phone)
    return None if country == UNKNOWN else name_country(country)


def _describe_thread(person: Person, events: Any) -> dict[str, Any]:
    cursors: dict[str, Any] = {
        name: Cursor().deserialize(request.args[name])
        for name in ("ours", "theirs")
        if name in request.args
    }
    thread: ThreadPage = read_thread(current_context(), person["phone"], events, **cursors)
    return {"thread": thread, "moves": not cursors}
