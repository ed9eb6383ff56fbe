"""Rules for the values of subscribers: tags, languages, time zones, attributes.  Pure."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from unicodedata import category, normalize
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from app.http.fields import is_unicode

# Texts did not exist before: an earlier time of a consent is a number that was read as one.
FIRST_YEAR = 1990
MAX_NAME_CHARACTERS = 100
MAX_TAG_CHARACTERS = 64
MAX_TAGS = 100
MAX_ATTRIBUTES = 50
MAX_SOURCE_CHARACTERS = 200
MAX_WORDING_CHARACTERS = 2_000
MAX_ATTRIBUTE_CHARACTERS = 500
# Beyond it a database's number and ours are no longer the same.
MAX_WHOLE_NUMBER = 2**53

# Prefix of an attribute where fields are named.
ATTRIBUTE = "attributes."
ATTRIBUTE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,32}")
_LANGUAGE = re.compile(
    r"(?P<language>[A-Za-z]{2,3})"
    r"(?:[-_](?P<script>[A-Za-z]{4}))?"
    r"(?:[-_](?P<region>[A-Za-z]{2}|[0-9]{3}))?"
)
# Not those below posix/ and right/, nor localtime, which some systems have beside them.
_ZONE = re.compile(r"[A-Z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*")
_TAG_MARKS = frozenset(" ._-:")


def normalise_tag(name: str) -> str | None:
    """Return a tag in lower case with single blanks; None for an invalid name.

    >>> normalise_tag("  VIP  Customers "), normalise_tag("Kunde:Süd"), normalise_tag("a/b")
    ('vip customers', 'kunde:süd', None)
    """
    tag = normalize("NFC", re.sub(" {2,}", " ", name.strip()).lower())
    if not 1 <= len(tag) <= MAX_TAG_CHARACTERS or not any(map(str.isalnum, tag)):
        return None
    return tag if all(map(_may_stand_in_tag, tag)) else None


def read_tag(name: str) -> str:
    """Return a tag as it is stored; "", which no tag has, for an invalid name."""
    return normalise_tag(name) or ""


def make_tag_name(text: str) -> str:
    """Return a text with blanks in place of what no tag may have; "" if no letter or digit is left.

    >>> make_tag_name("* A/B "), make_tag_name("⭐")
    ('A B', '')
    """
    plain = "".join(mark if _may_stand_in_tag(mark) else " " for mark in text)
    return " ".join(plain.split()) if any(map(str.isalnum, plain)) else ""


def _may_stand_in_tag(character: str) -> bool:
    # Marks: without them Hindi, for one, cannot be written.
    return character.isalnum() or character in _TAG_MARKS or category(character).startswith("M")


@lru_cache(maxsize=1024)
def normalise_language(language: str) -> str | None:
    """Return a short tag of RFC 5646 in its usual case; None for an invalid one.

    >>> normalise_language("PT_br"), normalise_language("zh-hans-cn"), normalise_language("german")
    ('pt-BR', 'zh-Hans-CN', None)
    """
    match = _LANGUAGE.fullmatch(language.strip())
    if match is None:
        return None
    script, region = match["script"], match["region"]
    parts = (match["language"].lower(), script and script.title(), region and region.upper())
    return "-".join(part for part in parts if part)


@lru_cache(maxsize=1024)
def is_time_zone(name: str) -> bool:
    """Return True if the IANA time zone database has this name.

    >>> is_time_zone("Europe/Stockholm"), is_time_zone("Mars/Base"), is_time_zone("right/UTC")
    (True, False, False)
    """
    if len(name) > 64 or not _ZONE.fullmatch(name):
        return False
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def find_attribute_error(name: str, value: Any) -> str | None:
    """Return a sentence about what is wrong with an attribute; None for a valid one.

    >>> find_attribute_error("city", "Berlin"), find_attribute_error("tags", ["a"])
    (None, 'Not text, a number, true, false or null.')
    """
    if not ATTRIBUTE_NAME.fullmatch(name):
        return "Not a name of 1 to 32 letters A-Z, digits, '_', '.' or '-'."
    return find_value_error(value)


def find_value_error(value: Any) -> str | None:
    """Return a sentence about what is wrong with an attribute's value; None for a valid one."""
    if value is None or isinstance(value, bool | float):
        return None
    if isinstance(value, int):
        return None if abs(value) <= MAX_WHOLE_NUMBER else "A number of more than 53 bits."
    if not isinstance(value, str):
        return "Not text, a number, true, false or null."
    if len(value) > MAX_ATTRIBUTE_CHARACTERS:
        return f"Longer than {MAX_ATTRIBUTE_CHARACTERS} characters."
    if "\0" in value or not is_unicode(value):
        return "Holds a NUL or half a character."
    return None


def merge_attributes(
    old: Mapping[str, Any] | None, new: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Return old attributes with new ones over them; a null removes one.  None for no attributes.

    >>> merge_attributes({"city": "Berlin", "age": 7}, {"age": None, "vip": True})
    {'city': 'Berlin', 'vip': True}
    """
    merged = {**(old or {}), **(new or {})}
    return {name: value for name, value in merged.items() if value is not None} or None
