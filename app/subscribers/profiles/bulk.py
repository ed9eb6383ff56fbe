"""Bulk upsert: subscribers of one API request are created or changed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from loguru import logger
from marshmallow import ValidationError

from app.errors import BadInput
from app.phone.reader import PhoneReader
from app.subscribers.context import SubscriberContext
from app.subscribers.profiles.entry import OnConflict, SubscriberEntry
from app.subscribers.profiles.schemas import UNLISTED, EntrySchema
from app.subscribers.profiles.upsert import EntryOutcome, write_entries

MAX_REFUSED_SHOWN = 100
_ENTRY = EntrySchema()
_FUTURE = {"consent": {"at": ["In the future."]}}
_TWICE = {"phone": ["Given before in this request."]}
_COUNTED = (EntryOutcome.CREATED, EntryOutcome.UPDATED, EntryOutcome.UNCHANGED)

# The errors of an invalid entry by field.
Errors = dict[str, Any]


def upsert_subscribers(
    ctx: SubscriberContext,
    subscribers: Sequence[Any],
    *,
    actor: str,
    on_conflict: OnConflict = OnConflict.MERGE,
    skip_invalid: bool = False,
    allow_unlisted: bool = False,
) -> dict[str, Any]:
    """Create or change subscribers: all or nothing, or without invalid ones if `skip_invalid`.

    Returns the counts by outcome and the first refusals.  Raises BadInput that names the invalid
    entries.
    """
    entries, refusals = _check(ctx, subscribers, allow_unlisted=allow_unlisted)
    if refusals and not skip_invalid:
        raise _reject(refusals)
    with ctx.db.write() as tx:
        result = write_entries(
            tx, ctx, list(entries.values()), on_conflict=on_conflict, actor=actor, channel="api"
        )
        indexes = {entry.phone: index for index, entry in entries.items()}
        for phone, error in result.errors.items():
            refusals[indexes[phone]] = {"attributes": [error]}
        if refusals and not skip_invalid:
            raise _reject(refusals)
    outcomes = list(result.outcomes.values())
    counts = {outcome.value: outcomes.count(outcome) for outcome in _COUNTED}
    logger.bind(client=actor, **counts, refused=len(refusals)).info(
        "subscribers were created or changed"
    )
    return counts | _show_refusals(refusals)


def _check(
    ctx: SubscriberContext, subscribers: Iterable[Any], *, allow_unlisted: bool
) -> tuple[dict[int, SubscriberEntry], dict[int, Errors]]:
    """Return valid entries by index, each of another number, and the errors of invalid ones."""
    reader = PhoneReader(check=not allow_unlisted)
    entries: dict[int, SubscriberEntry] = {}
    refusals: dict[int, Errors] = {}
    seen, now = set[str](), ctx.now()
    for index, given in enumerate(subscribers):
        try:
            entry = _ENTRY.load(given)
        except ValidationError as e:
            refusals[index] = e.messages_dict
            continue
        try:
            entry = replace(entry, phone=reader.read(entry.phone))
        except ValueError:
            refusals[index] = {"phone": [UNLISTED]}
            continue
        agreed_at = entry.consent.at if entry.consent else None
        if entry.phone in seen:
            refusals[index] = _TWICE
        elif agreed_at is not None and agreed_at > now:
            refusals[index] = _FUTURE
        else:
            seen.add(entry.phone)
            entries[index] = entry
    return entries, refusals


def _reject(refusals: Mapping[int, Errors]) -> BadInput:
    return BadInput(
        f"{len(refusals)} of the subscribers are refused, nothing was done: the first is number "
        f"{min(refusals)}, counted from 0.",
        **_show_refusals(refusals),
    )


def _show_refusals(refusals: Mapping[int, Errors]) -> dict[str, Any]:
    """Return the number of invalid entries, and the first hundred of them with the reasons."""
    shown = [
        {"index": index, "fields": refusals[index]}
        for index in sorted(refusals)[:MAX_REFUSED_SHOWN]
    ]
    return {"refused": len(refusals), "refusals": shown}
