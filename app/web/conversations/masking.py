"""Names, numbers and texts as the user's role may see them: a viewer sees none in full."""

import re
from typing import Any

from app.logs import mask_numbers
from app.phone.e164 import mask_number


def say_name(person: Any, phone: str, *, masked: bool) -> str:
    """Return a person's name or number; `person` has first_name and last_name, or is None."""
    names = [name for name in (_read_names(person)) if name]
    if not names:
        return mask_number(phone) if masked else phone
    return " ".join(abbreviate(name) for name in names) if masked else " ".join(names)


def abbreviate(name: str) -> str:
    """Return the initial of a name.

    >>> abbreviate("Ylva")
    'Y.'
    """
    return f"{name.strip()[:1]}."


def mask_text(text: str, person: Any) -> str:
    """Return a text without numbers, and with initials for the names of its person.

    >>> mask_text("Hi Ylva, call 46701234567", None)
    'Hi Ylva, call 467••••••67'
    """
    for name in _read_names(person):
        if name and name.strip():
            found = rf"(?<!\w){re.escape(name.strip())}(?!\w)"
            text = re.sub(found, lambda match: abbreviate(match[0]), text, flags=re.IGNORECASE)
    return mask_numbers(text)


def _read_names(person: Any) -> tuple[str | None, str | None]:
    return (person.first_name, person.last_name) if person is not None else (None, None)
