"""People in words: names and numbers as a role may see them, what they get, their consents."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from flask import current_app
from marshmallow import ValidationError
from sqlalchemy import Row

from app.accounts.roles import Role
from app.csv_cells import show_plainly
from app.logs import mask_numbers
from app.phone.e164 import mask_number
from app.phone.reader import PhoneReader
from app.sms.context import Context
from app.subscribers.imports.models import ValueType
from app.subscribers.models import Cause, ConsentKind, Scope
from app.subscribers.profiles.queries import Person
from app.web.guard import current_user
from app.web.words import clock_time, day_of, name_actor

_SHOWN_WORDS = 200
_CAUSES = {
    Cause.STOP: "opted out",
    Cause.CARRIER: "opted out at their carrier",
    Cause.MANUAL: "stopped by hand",
    Cause.IMPORT: "on an imported opt-out list",
    Cause.ERASED: "their data was erased",
}
# What is wrong with fields that the forms of a person and of a file have.
FIELD_MISTAKES = {
    "tags": "A tag has 1 to 64 letters, digits, blanks, '.', '_', '-' or ':'; at most 100 tags.",
    "wording": "Write what they agreed to, word for word.",
    "source": "Write where they agreed, such as the address of the page.",
}
DETAIL_MISTAKES = FIELD_MISTAKES | {
    "first_name": "At most 100 characters.",
    "last_name": "At most 100 characters.",
    "language": "Write a language such as sv, pt-BR or zh-Hans.",
    "time_zone": "Write a zone such as Europe/Stockholm.",
}
VALUE_TYPES = {ValueType.TEXT: "text", ValueType.NUMBER: "number", ValueType.BOOLEAN: "yes or no"}
NO_NOTE = "Write why, for those who ask later: 1 to 200 characters."
# What can be wrong with a form that stops texts: the id of the field, and a sentence.
_STOP_MISTAKES = {
    "scope": ("scope", "Choose marketing or everything."),
    "note": ("reason", "At most 200 characters."),
}
SCOPES = {Scope.ALL: "Everything", Scope.MARKETING: "Marketing"}


def shows_numbers() -> bool:
    """Return True if the user may see whole numbers and names."""
    return current_user().role.includes(Role.AUTHOR)


def show_number(phone: str | None) -> str:
    """Return a number as the user may see it."""
    if phone is None:
        return "Erased"
    return phone if shows_numbers() else mask_number(phone)


def show_name(person: Mapping[str, Any] | None, phone: str = "") -> str:
    """Return a person's name, else the number, as the user may see it; "" without both."""
    names = _list_names(person)
    if not names:
        return show_number(phone) if phone else ""
    return " ".join(names if shows_numbers() else map(abbreviate, names))


def show_text(text: str, person: Mapping[str, Any] | None) -> str:
    """Return a text as the user may see it."""
    return text if shows_numbers() else mask_text(text, _list_names(person))


def _list_names(person: Mapping[str, Any] | None) -> list[str]:
    names = (person["first_name"], person["last_name"]) if person else ()
    return [name.strip() for name in names if name and name.strip()]


def abbreviate(name: str) -> str:
    """Return the initial of a name.

    >>> abbreviate("Ylva")
    'Y.'
    """
    return f"{name[:1]}."


def mask_text(text: str, names: Iterable[str]) -> str:
    """Return a text without numbers, and with initials for names.

    >>> mask_text("Hi Ylva, call 46701234567", ["ylva"])
    'Hi Y., call 467••••••67'
    """
    for name in names:
        found = rf"(?<!\w){re.escape(name)}(?!\w)"
        text = re.sub(found, lambda match: abbreviate(match[0]), text, flags=re.IGNORECASE)
    return mask_numbers(text)


def show_value(value: Any) -> str:
    """Return a stored value as people write it.

    >>> show_value(True), show_value(7.0), show_value(1234567.25)
    ('yes', '7', '1234567.25')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    return show_plainly(value).removesuffix(".0") if isinstance(value, float) else str(value)


def has_digit(text: str) -> bool:
    """Return True if what was typed in a search is a number rather than a name."""
    return any(character.isdigit() for character in text)


def split_tags(text: str) -> list[str]:
    """Return tags that are written with commas between them."""
    return [tag for tag in text.split(",") if tag.strip()]


def read_number(text: str, *, check: bool = False) -> str:
    """Return a number that is written as people write it.  Raises ValueError with the reason.

    With `check` a country has to have numbers like it.
    """
    if not text.strip():
        raise ValueError("Write a phone number.")
    ctx: Context = current_app.extensions["clarion"]
    return PhoneReader(country=ctx.subscriber_rules.default_country, check=check).read(text)


def describe_person(person: Person, now: datetime) -> dict[str, Any]:
    """Return a person of a list, as the user may see them."""
    return {
        "id": person["public_id"],
        "name": show_name(person),
        "number": show_number(person["phone"]),
        "access": describe_access(person, now),
        "tags": person["tags"],
        "since": person["subscribed_at"],
    }


def describe_access(person: Person, now: datetime) -> dict[str, str]:
    """Return what a person gets, as kind and word of a mark."""
    suppression = person["suppression"]
    if suppression is None:
        return _describe_consent(person)
    if suppression.needs_review:
        return {"kind": "decision", "word": "Nothing until their text is read"}
    gets = "Nothing" if suppression.scope is Scope.ALL else "No marketing"
    return {"kind": "left-out", "word": f"{gets}: {say_cause(suppression, now)}"}


def _describe_consent(person: Person) -> dict[str, str]:
    if not person["active"]:
        return {"kind": "left-out", "word": "No marketing: not active"}
    if person["consented_at"] is None:
        return {"kind": "left-out", "word": "No marketing: has not agreed to it"}
    return {"kind": "delivered", "word": "Gets everything"}


def say_cause(suppression: Row[Any], now: datetime) -> str:
    """Return why and since which day a number is suppressed."""
    at = suppression.suppressed_at
    day = "today" if day_of(at) == day_of(now) else clock_time(at, now).partition(",")[0]
    return f"{_CAUSES[suppression.cause]} {day}"


def say_event(event: Mapping[str, Any]) -> tuple[str, str]:
    """Return a consent event as its bold beginning and the rest."""
    words = cut(event["wording"])
    by_text = event["channel"] == "sms"
    recorded = f"Recorded by {name_actor(event['actor'])}."
    match event["kind"]:
        case ConsentKind.OPT_IN if by_text:
            return f"Wrote “{words}”.", "Agreed to texts."
        case ConsentKind.OPT_IN:
            return f"Agreed to “{words}”", f"at {cut(event['source'])}. {recorded}"
        case ConsentKind.OPT_OUT if by_text:
            return f"Wrote “{words}”.", "Nothing is sent from then on."
        case ConsentKind.OPT_OUT:
            note = f"“{words}”. " if words else ""
            return "Opted out.", f"{note}{recorded}"
        case ConsentKind.ASKED:
            return f"Was asked to confirm the tag “{event['tag']}”.", f"“{words}”"
        case ConsentKind.CONFIRMED:
            return f"Answered “{words}”", f"to our question about the tag “{event['tag']}”."
        case _:
            return "Texts were allowed again.", f"“{words}”. {recorded}"


def list_wrong_fields(error: ValidationError) -> list[str]:
    """Return the fields of a form that are wrong, those of a consent in place of the consent."""
    messages = error.messages_dict
    return [*(name for name in messages if name != "consent"), *messages.get("consent", {})]


def explain_stop(error: ValidationError) -> dict[str, str]:
    """Return what is wrong with a form that stops texts, by the id of the field."""
    return dict(_STOP_MISTAKES[name] for name in _STOP_MISTAKES if name in error.messages_dict)


def cut(text: str) -> str:
    """Return a text for a sentence, cut where it is long.

    >>> cut("a" * 300) == "a" * 199 + "…"
    True
    """
    return text if len(text) <= _SHOWN_WORDS else f"{text[: _SHOWN_WORDS - 1]}…"
