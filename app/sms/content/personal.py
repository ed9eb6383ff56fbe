"""A text for one person: the values of their own, their language, what it then takes.  Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from app.sms.content.placeholders import MAX_TEXT_CHARACTERS, fill_text
from app.text.segments import TextSize, measure_text

# As long as Sinch documents a parameter's value to be.
MAX_VALUE_CHARACTERS = 160
ATTRIBUTE = "attributes."
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
