"""A broadcast before anything leaves: its batches, its personal texts, its size.  Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.subscribers.attributes import ATTRIBUTE
from app.text.segments import Encoding, TextSize, measure_text

MAX_TEXT_CHARACTERS = 2_000

DEFAULT = "default"

# Name and length as Sinch documents them for message parameterization.
PARAMETER_NAME = re.compile(r"[A-Za-z0-9._-]{1,16}")
_PLACEHOLDER = re.compile(r"\$\{([A-Za-z0-9._-]{1,16})\}")

Parameters = Mapping[str, Mapping[str, str]]


class PlaceholderError(ValueError):
    """A text that could not be filled for somebody; the message says for whom."""


def check_syntax(text: str) -> None:
    """Raise PlaceholderError for a '${' that begins no placeholder."""
    if _PLACEHOLDER.sub("", text).find("${") >= 0:
        raise PlaceholderError(
            "a '${' is not followed by a name of 1 to 16 letters, digits, '.', '-' or '_' and '}'"
        )


def check_placeholders(text: str, parameters: Parameters, recipients: Sequence[str]) -> None:
    """Raise PlaceholderError unless every `${name}` has a value for every recipient."""
    check_syntax(text)
    for name in find_placeholders(text):
        values = parameters.get(name)
        if values is None:
            raise PlaceholderError(f"${{{name}}} has no value: give it in parameters")
        if DEFAULT in values:
            continue
        missing = next((number for number in recipients if number not in values), None)
        if missing is not None:
            raise PlaceholderError(f"${{{name}}} has no value for {missing} and no default")


def find_placeholders(text: str) -> list[str]:
    """The names of a text's placeholders, each once.

    >>> find_placeholders("Hi ${name}, it is ${day}, ${name}")
    ['name', 'day']
    """
    return list(dict.fromkeys(_PLACEHOLDER.findall(text)))


def select_used(text: str, parameters: Parameters) -> Parameters:
    """The parameters that the text has a placeholder for; Sinch has no use for the others."""
    return {
        name: parameters[name]
        for name in dict.fromkeys(_PLACEHOLDER.findall(text))
        if name in parameters
    }


def fill_text(text: str, values: Mapping[str, str]) -> str:
    """The text with these values filled in; a placeholder without one stays.

    >>> fill_text("Hi ${name}, ${day}", {"name": "Ann"})
    'Hi Ann, ${day}'
    """
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)


def measure_messages(text: str, parameters: Parameters, recipients: Sequence[str]) -> TextSize:
    """The size of the largest message once placeholders are filled.

    UCS-2 when any message is; the parts of the one with most.  Raises PlaceholderError when a
    filled message is empty or longer than 2,000 characters.
    """
    names = _PLACEHOLDER.findall(text)
    if not names:
        return measure_text(text)
    sizes = {
        measure_text(_fill(text, dict(zip(parameters, filling, strict=True)), recipient))
        for filling, recipient in _find_fillings(parameters, recipients).items()
    }
    any_ucs2 = any(size.encoding is Encoding.UCS_2 for size in sizes)
    return TextSize(
        encoding=Encoding.UCS_2 if any_ucs2 else Encoding.GSM_7,
        parts=max(size.parts for size in sizes),
    )


def _find_fillings(parameters: Parameters, recipients: Sequence[str]) -> dict[tuple[str, ...], str]:
    """Each distinct row of values, in the order of the parameters, and somebody who gets it."""
    return {
        tuple(values.get(recipient, values.get(DEFAULT, "")) for values in parameters.values()): (
            recipient
        )
        for recipient in recipients
    }


def _fill(text: str, values: Mapping[str, str], recipient: str) -> str:
    """The text somebody gets; its length is checked before it is built."""
    names = _PLACEHOLDER.findall(text)
    fixed = len(text) - sum(len(name) + len("${}") for name in names)
    if fixed + sum(len(values[name]) for name in names) > MAX_TEXT_CHARACTERS:
        raise PlaceholderError(
            f"filled in for {recipient} it is longer than {MAX_TEXT_CHARACTERS} characters"
        )
    filled = _PLACEHOLDER.sub(lambda match: values[match[1]], text)
    if not filled.strip():
        raise PlaceholderError(f"filled in for {recipient} it is empty")
    return filled


# As long as Sinch documents a parameter's value to be.
MAX_VALUE_CHARACTERS = 160


# What of a subscriber may stand in a text, beside attributes.
COLUMNS = ("first_name", "last_name", "language")


def name_field(placeholder: str, fields: Mapping[str, str]) -> str:
    """What of a subscriber fills a placeholder: as named, else a column or attribute so called.

    >>> name_field("first_name", {}), name_field("city", {}), name_field("n", {"n": "last_name"})
    ('first_name', 'attributes.city', 'last_name')
    """
    named = fields.get(placeholder, placeholder)
    return named if named in COLUMNS or named.startswith(ATTRIBUTE) else ATTRIBUTE + named


def read_value(person: Any, field: str) -> str | None:
    """What stands in a subscriber's field as text; None where nothing usable does."""
    if field.startswith(ATTRIBUTE):
        value = (person.attributes or {}).get(field.removeprefix(ATTRIBUTE))
    else:
        value = getattr(person, field)
    if value is None:
        return None
    text = str(value).lower() if isinstance(value, bool) else str(value).strip()
    return text if 0 < len(text) <= MAX_VALUE_CHARACTERS else None


def choose_language(wanted: str | None, texts: Iterable[str], default: str | None) -> str | None:
    """Which translation somebody gets: theirs, one of the same language, else the default.

    >>> choose_language("pt-BR", ["en", "pt"], "en"), choose_language("sv", ["en"], "en")
    ('pt', 'en')
    """
    available = list(texts)
    if wanted in available:
        return wanted
    root = (wanted or "").partition("-")[0]
    alike = [each for each in available if root and each.partition("-")[0] == root]
    return alike[0] if alike else default


def measure_personal(text: str, values: Mapping[str, str]) -> TextSize | None:
    """What a text takes with these values; None where it is then empty or too long."""
    filled = fill_text(text, values)
    if not filled.strip() or len(filled) > MAX_TEXT_CHARACTERS:
        return None
    return measure_text(filled)
