"""Requests from drafts, by the schema of the API, so that both have one truth about errors."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row

from app.errors import Conflict, NotFound
from app.sms.content.placeholders import Parameters, find_placeholders
from app.sms.content.templates import view_usable_template
from app.sms.context import Context
from app.sms.drafts.people_file import PeopleFile, sort_people
from app.sms.models.states import Category
from app.sms.request.model import BroadcastRequest
from app.sms.request.schemas import BroadcastSchema
from app.subscribers.lists.phone_list import SortedPhones

# Hours after its start in which a broadcast is tried; the body of the API has the time instead.
END_AFTER = "end_after_h"
# The keys of a body that make its text.  With a template, `message` is what was typed before.
TEXT_KEYS = ("message", "template", "language", "parameters")


def make_request(
    known: Mapping[str, Any], listed: SortedPhones | None, *, now: datetime
) -> BroadcastRequest:
    """Return the request of a draft's body and of the people that it lists, if any.

    Raises ValidationError and BadInput for what is missing.
    """
    others = {name: value for name, value in known.items() if name not in TEXT_KEYS}
    body = others | select_text(known)
    body.pop(END_AFTER, None)
    if ends_at := read_times(known, now)[1]:
        body["expire_at"] = ends_at.isoformat()
    if listed:
        # Those of the audience that a copied broadcast had.
        body.pop("fields", None)
        body |= {
            "recipients": listed.phones,
            "parameters": merge_values(listed, body.get("parameters", {})),
        }
    request: BroadcastRequest = BroadcastSchema().load(body)
    return request


def read_times(body: Mapping[str, Any], now: datetime) -> tuple[datetime | None, datetime | None]:
    """Return the start and the end of a draft's body, None for the usual ones."""
    starts_at = datetime.fromisoformat(body["send_at"]) if "send_at" in body else None
    hours = body.get(END_AFTER)
    return starts_at, None if hours is None else (starts_at or now) + timedelta(hours=hours)


def select_text(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a draft's body that make its text: a template counts before a message."""
    unused = "message" if "template" in body else None
    return {name: body[name] for name in TEXT_KEYS if name in body and name != unused}


def merge_values(listed: SortedPhones | None, defaults: Parameters) -> Parameters:
    """Return the values of people who are listed beside the defaults of placeholders."""
    own = listed.parameters if listed else {}
    names = dict.fromkeys((*own, *defaults))
    return {name: {**own.get(name, {}), **defaults.get(name, {})} for name in names}


def list_people(
    ctx: Context, draft: Row[Any], body: Mapping[str, Any] | None = None
) -> SortedPhones | None:
    """Return the pasted numbers of a draft, or the people of its file; None for an audience.

    The people have values for the text of the draft's body, or of another one.
    """
    if draft.numbers:
        return SortedPhones(draft.numbers.split("\n"))
    if draft.file and draft.file["is_chosen"]:
        return sort_for_body(ctx, PeopleFile.from_json(draft.file), body or draft.body)
    return None


def sort_for_body(ctx: Context, file: PeopleFile, body: Mapping[str, Any]) -> SortedPhones:
    """Return whom the text of a draft's body reaches by a file, and with which values."""
    marketing = body.get("category") == Category.MARKETING
    return sort_people(file, find_names(ctx, body), marketing=marketing)


def find_names(ctx: Context, body: Mapping[str, Any]) -> list[str]:
    """Return the placeholders of a draft's text, those of all languages of its template."""
    texts = [body.get("message", "")]
    if "template" in body:
        with suppress(NotFound, Conflict):
            texts = list(view_usable_template(ctx, body["template"]["name"]).texts.values())
    return find_placeholders(" ".join(texts))


def find_open_names(ctx: Context, body: Mapping[str, Any]) -> list[str]:
    """Return the placeholders of a draft's text that have no default."""
    return [name for name in find_names(ctx, body) if name not in body.get("parameters", {})]
