"""Hints for entries of `recipients` that are not phone numbers in E.164."""

import re
from itertools import islice
from typing import Any

from app.phone.characters import simplify_characters
from app.phone.e164 import MAX_CHARACTERS
from app.phone.reader import PhoneReader

MAX_HINTS = 20
_MAX_DIGITS = 15
_READER = PhoneReader(check=False)
_SIGNS = re.compile(r"[\s()\[\]./-]+")


def list_hints(entries: list[object], invalid: list[object]) -> list[dict[str, Any]]:
    """Return the index of each of the first 20 invalid entries, with what to write instead.

    `invalid` are the objects among the entries that were found to be invalid, in their order.
    """
    ids = {id(entry) for entry in invalid[:MAX_HINTS]}
    found = ((index, entry) for index, entry in enumerate(entries) if id(entry) in ids)
    return [
        {"index": index, "hint": explain_entry(entry)} for index, entry in islice(found, MAX_HINTS)
    ]


def explain_entry(entry: object) -> str:
    """Return what is wrong with an entry that is not a phone number in E.164.

    >>> explain_entry("0701234567")
    'No country code: write + and the country code in place of the first 0.'
    >>> explain_entry("46701234567")
    'No + in front: write +46701234567 if that begins with its country code.'
    >>> explain_entry("0046 70 123 45 67")
    'Write +46701234567.'
    >>> explain_entry("+0123"), explain_entry("+4670123456712345")
    ('No country code begins with 0.', 'It has 16 digits; 15 is the most.')
    """
    if not isinstance(entry, str):
        return "Not text: put the number in double quotes, with its +."
    if not entry.strip():
        return "Empty."
    if len(entry) > MAX_CHARACTERS:
        return "Longer than any phone number."
    bare = _SIGNS.sub("", simplify_characters(entry))
    digits = bare.lstrip("+")
    if digits.isascii() and digits.isdigit():
        if len(digits) > _MAX_DIGITS and not digits.startswith("00"):
            return f"It has {len(digits)} digits; {_MAX_DIGITS} is the most."
        if bare.startswith("+0"):
            return "No country code begins with 0."
        if bare.startswith("0") and not bare.startswith("00"):
            return "No country code: write + and the country code in place of the first 0."
        if not bare.startswith(("0", "+")):
            return f"No + in front: write +{digits} if that begins with its country code."
    try:
        return f"Write {_READER.read(entry)}."
    except ValueError as e:
        return f"{e}"
