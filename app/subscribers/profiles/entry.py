"""What a client gives of a person, and what that makes of what is kept.  Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.subscribers.attributes import MAX_ATTRIBUTES, merge_attributes

# What is replaced as a whole; the rest is only ever changed by name.
DETAILS = ("first_name", "last_name", "language", "time_zone")
COLUMNS = (*DETAILS, "attributes", "active", "subscribed_at")


class OnConflict(StrEnum):
    """What becomes of somebody whose number is there already."""

    MERGE = "merge"  # what is given wins, the rest stays; tags are added
    REPLACE = "replace"  # names, language, zone and attributes are as given; tags, where given
    SKIP = "skip"  # they stay as they are


class TooManyAttributes(ValueError):
    """Somebody would have more than 50, with those there already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenConsent:
    """That somebody agreed to marketing: in which words, and where that was."""

    wording: str
    source: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberEntry:
    """What is given of a person; `details` are columns by name, `tags` None when not given."""

    phone: str
    details: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, Any] | None = None
    tags: tuple[str, ...] | None = None
    consent: GivenConsent | None = None


def make_details(entry: SubscriberEntry, now: datetime) -> dict[str, Any]:
    """The columns of a new subscriber."""
    attributes = merge_attributes(None, entry.attributes)
    blank = {**dict.fromkeys(DETAILS), "active": True, "subscribed_at": now}
    return {**blank, **entry.details, "attributes": attributes}


def merge_details(old: Mapping[str, Any], entry: SubscriberEntry) -> dict[str, Any]:
    """The columns with what is given over them.  Raises TooManyAttributes."""
    attributes = merge_attributes(old["attributes"], entry.attributes)
    if len(attributes or {}) > MAX_ATTRIBUTES:
        raise TooManyAttributes(f"More than {MAX_ATTRIBUTES} attributes, with those there already.")
    return {name: old[name] for name in COLUMNS} | {**entry.details, "attributes": attributes}


def replace_details(old: Mapping[str, Any], entry: SubscriberEntry) -> dict[str, Any]:
    """The columns as given; whether active and since when stays unless it is given."""
    kept = {name: old[name] for name in ("active", "subscribed_at")}
    return make_details(entry, old["subscribed_at"]) | {**kept, **entry.details}


def is_same(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether no column differs.

    >>> is_same({"attributes": {"a": 1}}, {"attributes": {"a": True}})
    False
    """
    plain = (name for name in new if name != "attributes")
    return all(old[name] == new[name] for name in plain) and (
        # 1, 1.0 and true are equal to Python.
        json.dumps(old["attributes"], sort_keys=True)
        == json.dumps(new["attributes"], sort_keys=True)
    )
