"""Entries of subscribers as clients and files give them, and the rules of merging.  Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.csv_cells import show_plainly
from app.subscribers.attributes import MAX_ATTRIBUTES, merge_attributes

# Columns that an entry replaces as a whole.
DETAILS = ("first_name", "last_name", "language", "time_zone")
COLUMNS = (*DETAILS, "attributes", "active", "subscribed_at")


class OnConflict(StrEnum):
    """Handling of an entry whose number is a subscriber's already."""

    MERGE = "merge"  # given values win, the others stay; tags are added
    REPLACE = "replace"  # names, language, zone and attributes become those given; tags if given
    SKIP = "skip"  # the subscriber stays unchanged


class TooManyAttributes(ValueError):
    """The subscriber would have more than 50 attributes, with those stored already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenConsent:
    """A consent to marketing: its wording, where it was given, and when; now if None."""

    wording: str
    source: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberEntry:
    """The given values of a person: `details` by column; `tags` is None if not given."""

    phone: str
    details: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, Any] | None = None
    tags: tuple[str, ...] | None = None
    consent: GivenConsent | None = None


def make_details(entry: SubscriberEntry, now: datetime) -> dict[str, Any]:
    """Return the columns of a new subscriber."""
    attributes = merge_attributes(None, entry.attributes)
    blank = {**dict.fromkeys(DETAILS), "active": True, "subscribed_at": now}
    return {**blank, **entry.details, "attributes": attributes}


def merge_details(old: Mapping[str, Any], entry: SubscriberEntry) -> dict[str, Any]:
    """Return the old columns with the given values over them.  Raises TooManyAttributes."""
    attributes = merge_attributes(old["attributes"], entry.attributes)
    if len(attributes or {}) > MAX_ATTRIBUTES:
        raise TooManyAttributes(f"More than {MAX_ATTRIBUTES} attributes, with those there already.")
    return {name: old[name] for name in COLUMNS} | {**entry.details, "attributes": attributes}


def merge_cells(old: Mapping[str, Any], entry: SubscriberEntry) -> dict[str, Any]:
    """Merge a row of a file: a cell that shows the stored number or boolean changes nothing.

    Raises TooManyAttributes.
    """
    stored = old["attributes"] or {}
    attributes = {
        name: stored[name] if _shows(cell, stored.get(name)) else cell
        for name, cell in (entry.attributes or {}).items()
    }
    details = choose_details(old, entry.details)
    return merge_details(old, replace(entry, details=details, attributes=attributes))


def choose_details(old: Mapping[str, Any], new: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the details of a row of a file that replace old ones.

    An empty last name clears the old one only beside another first name: two people of one number
    do not become one with the first name of the one and the last name of the other.

    >>> choose_details({"first_name": "Ann"}, {"first_name": "Anna", "last_name": None})
    {'first_name': 'Anna'}
    """
    before = (old.get("first_name") or "").casefold()
    after = (new.get("first_name") or "").casefold()
    if not before.startswith(after) and not after.startswith(before):
        return new
    return {name: value for name, value in new.items() if value is not None}


def _shows(cell: Any, stored: Any) -> bool:
    if isinstance(cell, bool) == isinstance(stored, bool) and cell == stored:
        return True
    return stored is not None and isinstance(cell, str) and cell == show_plainly(stored)


def replace_details(old: Mapping[str, Any], entry: SubscriberEntry) -> dict[str, Any]:
    """Return the given columns; `active` and `subscribed_at` stay unless they are given."""
    kept = {name: old[name] for name in ("active", "subscribed_at")}
    return make_details(entry, old["subscribed_at"]) | {**kept, **entry.details}


def is_same(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Return True if no column differs.

    >>> is_same({"attributes": {"a": 1}}, {"attributes": {"a": True}})
    False
    """
    plain = (name for name in new if name != "attributes")
    return all(old[name] == new[name] for name in plain) and (
        # 1, 1.0 and true are equal to Python.
        json.dumps(old["attributes"], sort_keys=True)
        == json.dumps(new["attributes"], sort_keys=True)
    )
