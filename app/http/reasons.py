"""Reasons why arguments are invalid, in plain words: marshmallow's messages, written anew.

Each reason says what was given and what to write instead.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from marshmallow import Schema
from marshmallow.exceptions import SCHEMA
from marshmallow.fields import Field, List, Nested

from app.phone.characters import remove_invisible
from app.text.typos import suggest

# Names that other programs give to our fields, in lower case and without underscores.
_OTHER_NAMES = {
    **dict.fromkeys(
        ("to", "numbers", "number", "phones", "phone", "phonenumber", "phonenumbers", "recipient",
         "msisdn", "msisdns", "destination", "destinations", "mobile", "mobiles"),
        "recipients",
    ),
    **dict.fromkeys(("text", "body", "content", "msg", "sms", "messagetext"), "message"),
    **dict.fromkeys(("from", "originator", "source", "senderid", "fromnumber"), "sender"),
    **dict.fromkeys(
        ("when", "schedule", "scheduled", "scheduledat", "scheduledfor", "scheduletime", "startat",
         "sendtime", "at"),
        "send_at",
    ),
    **dict.fromkeys(("validity", "validityperiod", "ttl", "validuntil", "expiresat"), "expire_at"),
    **dict.fromkeys(("tag", "tags", "group", "segment"), "audience"),
    **dict.fromkeys(("ref", "clientreference", "clientref", "name", "id"), "reference"),
    **dict.fromkeys(("params", "variables", "values"), "parameters"),
}  # fmt: skip
# The name of errors of an object as a whole.
_OF_ALL = "object"
_MOST_NAMES = 30
# Errors of a body, and of each field within it.
_MOST_FIELDS, _MOST_BELOW = 100, 20
_MOST_NAME = 64
_MOST_VALUE = 40
_BETWEEN = re.compile(r"Length must be between (\d+) and (\d+)\.")
_SHORTER = re.compile(r"Shorter than minimum length (\d+)\.")
_LONGER = re.compile(r"Longer than maximum length (\d+)\.")
_BOUNDS = re.compile(
    r"Must be greater than or equal to (-?[\d.]+)(?: and less than or equal to (-?[\d.]+))?\."
)
_FIXED = {
    "Missing data for required field.": "Missing: this field is required.",
    "Field may not be null.": "Must not be null: give a value, or leave the field out.",
    "Not a valid utf-8 string.": "Not text in UTF-8.",
    "Number too large.": "The number is too large.",
    "Not a valid date.": "Not a date such as 2026-03-01.",
    "Special numeric values (nan or infinity) are not permitted.": "Not a number such as 0.5.",
}
_KINDS = {
    "Not a valid string.": "text: put it in double quotes",
    "Not a valid integer.": "a whole number such as 5, without quotes",
    "Not a valid number.": "a number such as 0.5",
    "Not a valid boolean.": "true or false",
    "Not a valid list.": "a list: put it in [ ]",
    "Not a valid mapping type.": "an object: put it in { }",
    "Invalid type.": "an object: put it in { }",
    "Invalid input type.": "an object: put it in { }",
}
_JSON_TYPES: dict[type, str] = {
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def capitalize(words: str) -> str:
    """Return words as a sentence begins.

    >>> capitalize("opted out by Ann"), capitalize("")
    ('Opted out by Ann', '')
    """
    return words[:1].upper() + words[1:]


def explain_errors(
    errors: Any, given: Any, schema: Schema | Field[Any] | None, *, is_body: bool = False
) -> Any:
    """Return marshmallow's errors, a list of messages or a tree of them, in plain words.

    `given` is what a client sent; `schema` is the schema or the field that refused it.  Only the
    first of many errors are returned, and long names are cut.
    """
    if isinstance(errors, Mapping):
        explained = {
            _shorten(name): explain_errors(below, _look_up(given, name), _look_down(schema, name))
            for name, below in islice(errors.items(), _MOST_FIELDS if is_body else _MOST_BELOW)
        }
        return explained[_OF_ALL] if [*explained] == [_OF_ALL] and not is_body else explained
    if isinstance(errors, Sequence) and not isinstance(errors, str):
        return [_explain(str(error), given, schema) for error in errors]
    return errors


def _shorten(name: Any) -> Any:
    """Return a name in a tree of errors as it is shown; an index stays."""
    if not isinstance(name, str):
        return name
    if name == SCHEMA:
        return _OF_ALL
    return name if len(name) <= _MOST_NAME else name[: _MOST_NAME - 1] + "…"


def _look_up(given: Any, name: Any) -> Any:
    if name == SCHEMA:
        return given
    try:
        return given[name]
    except (KeyError, IndexError, TypeError):
        return None


def _look_down(schema: Schema | Field[Any] | None, name: Any) -> Any:
    """Return the field of this name, or that the schema does not have one."""
    if name == SCHEMA:
        return schema
    if isinstance(schema, Nested):
        schema = schema.schema
    if isinstance(schema, List):
        return schema.inner
    if isinstance(schema, Schema):
        by_name = {field.data_key or key: field for key, field in schema.fields.items()}
        return by_name.get(name) or _Unknown(str(name), schema)
    return None


class _Unknown(Field[Any]):
    """A name that a schema does not have."""

    def __init__(self, name: str, schema: Schema) -> None:
        super().__init__()
        self.given_name = name
        self.known = sorted(field.data_key or key for key, field in schema.fields.items())


def _explain(message: str, given: Any, field: Schema | Field[Any] | None) -> str:
    if message == "Unknown field." and isinstance(field, _Unknown):
        return _explain_unknown(field)
    if message in _KINDS:
        # In a query string everything is text.
        return f"Not {_KINDS[message]}{'' if isinstance(given, str) else _name_type(given)}."
    if message == "String does not match expected pattern." and isinstance(field, Field):
        example = field.metadata.get("example")
        return f"Not of the form of {example}." if example else "Not of the form that it must have."
    for pattern, explain in _WITH_BOUNDS.items():
        if match := pattern.fullmatch(message):
            return explain(given, *match.groups())
    return _FIXED.get(message, message)


def _explain_unknown(field: _Unknown) -> str:
    meant = suggest(field.given_name, field.known, _OTHER_NAMES)
    if meant:
        return f"Unknown field: did you mean {meant}?"
    names = field.known if len(field.known) <= _MOST_NAMES else []
    return f"Unknown field. Known are {', '.join(names)}." if names else "Unknown field."


def _name_type(given: Any) -> str:
    return f"; this is {_JSON_TYPES.get(type(given), 'something else')}"


def _explain_length(given: Any, lowest: str, highest: str) -> str:
    if not isinstance(given, str):
        size = _count(given)
        return f"{_show(lowest)} to {_show(highest)} entries are allowed; here are {size:,}."
    length = len(given.strip())
    if not remove_invisible(given).strip():
        what = "Only blanks" if given else "Empty"
        return f"{what}: give {_show(lowest)} to {_show(highest)} characters."
    return (
        f"{_show(lowest)} to {_show(highest)} characters are allowed; this has {length:,}, without "
        "blanks around it."
    )


def _explain_shorter(given: Any, lowest: str) -> str:
    return f"At least {_show(lowest)} must be given; here are {_count(given):,}."


def _explain_longer(given: Any, highest: str) -> str:
    what = "characters" if isinstance(given, str) else "entries"
    return f"At most {_show(highest)} {what} are allowed; here are {_count(given):,}."


def _count(given: Any) -> int:
    """Return the number of characters or entries, 0 for a value that has none."""
    return len(given) if isinstance(given, Sequence | Mapping) else 0


def _explain_bounds(given: Any, lowest: str, highest: str | None) -> str:
    allowed = f"from {_show(lowest)} to {_show(highest)}" if highest else f"from {_show(lowest)}"
    return f"A number {allowed} is allowed; this is {str(given)[:_MOST_VALUE]}."


_WITH_BOUNDS: dict[re.Pattern[str], Callable[..., str]] = {
    _BETWEEN: _explain_length,
    _SHORTER: _explain_shorter,
    _LONGER: _explain_longer,
    _BOUNDS: _explain_bounds,
}


def _show(digits: str) -> str:
    """Return a number with separators.

    >>> _show("2000"), _show("0.5")
    ('2,000', '0.5')
    """
    return f"{int(digits):,}" if digits.lstrip("-").isdigit() else digits
