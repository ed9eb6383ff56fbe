"""Bulk upsert: subscribers of one API request are created or changed."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from loguru import logger
from marshmallow import ValidationError
from sqlalchemy import select

from app.db.base import table_of
from app.db.prepared import chunked
from app.errors import BadInput
from app.http.reasons import explain_errors
from app.phone.e164 import find_in_use
from app.subscribers.context import SubscriberContext
from app.subscribers.models import Subscriber
from app.subscribers.profiles.entry import (
    OnConflict,
    SubscriberEntry,
    TooManyAttributes,
    merge_details,
)
from app.subscribers.profiles.schemas import UNLISTED, EntrySchema
from app.subscribers.profiles.upsert import EntryOutcome, write_entries
from app.subscribers.tags.assignments import lock_tags

MAX_REFUSED_SHOWN = 100
_ENTRY = EntrySchema()
_FUTURE = {"consent": {"at": ["In the future."]}}
_TWICE = {"phone": ["Given before in this request."]}
# Of a slice: tags, at some 20 microseconds each, and entries.
_SLICE_WEIGHT, _ENTRY_WEIGHT = 2_500, 4
_COUNTED = (EntryOutcome.CREATED, EntryOutcome.UPDATED, EntryOutcome.UNCHANGED)

_SUBSCRIBERS = table_of(Subscriber)

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

    All entries are checked before the first is written.  They are written in slices, for which
    other writers wait a tenth of a second at most.  Returns the counts by outcome and the first
    refusals.  Raises BadInput that names the invalid entries.
    """
    entries, refusals = _check(ctx, subscribers, allow_unlisted=allow_unlisted)
    if on_conflict is OnConflict.MERGE:
        refusals |= _find_overfull(ctx, entries)
    if refusals and not skip_invalid:
        raise _reject(refusals)
    with ctx.db.write() as tx:
        lock_tags(tx, ctx, {tag for entry in entries.values() for tag in entry.tags or ()})
    counts = Counter[str]()
    for part in _slice(entries):
        ctx.db.give_way()
        with ctx.db.write() as tx:
            result = write_entries(
                tx, ctx, list(part.values()), on_conflict=on_conflict, actor=actor, channel="api"
            )
        counts.update(outcome.value for outcome in result.outcomes.values())
        # Other requests may have added attributes since the check.
        refusals |= {
            index: {"attributes": [result.errors[entry.phone]]}
            for index, entry in part.items()
            if entry.phone in result.errors
        }
    answer = {outcome.value: counts[outcome.value] for outcome in _COUNTED}
    logger.bind(client=actor, **answer, refused=len(refusals)).info(
        "subscribers were created or changed"
    )
    return answer | _show_refusals(refusals)


def _find_overfull(
    ctx: SubscriberContext, entries: dict[int, SubscriberEntry]
) -> dict[int, Errors]:
    """Take out entries that would bring too many attributes.  Returns their errors by index."""
    indexes = {entry.phone: index for index, entry in entries.items() if entry.attributes}
    refusals: dict[int, Errors] = {}
    for part in chunked(list(indexes)):
        with ctx.db.read() as tx:
            known = tx.execute(select(_SUBSCRIBERS).where(_SUBSCRIBERS.c.phone.in_(part))).all()
        for row in known:
            try:
                merge_details(row._asdict(), entries[indexes[row.phone]])
            except TooManyAttributes as e:
                refusals[indexes[row.phone]] = {"attributes": [str(e)]}
    for index in refusals:
        del entries[index]
    return refusals


def _slice(entries: Mapping[int, SubscriberEntry]) -> Iterator[dict[int, SubscriberEntry]]:
    """Yield parts that take about as long to write: an entry counts as some tags."""
    part, weight = dict[int, SubscriberEntry](), 0
    for index, entry in entries.items():
        part[index] = entry
        weight += _ENTRY_WEIGHT + len(entry.tags or ())
        if weight >= _SLICE_WEIGHT:
            yield part
            part, weight = {}, 0
    if part:
        yield part


def _check(
    ctx: SubscriberContext, subscribers: Iterable[Any], *, allow_unlisted: bool
) -> tuple[dict[int, SubscriberEntry], dict[int, Errors]]:
    """Return valid entries by index, each of another number, and the errors of invalid ones.

    The errors are in plain words for as many as are shown.
    """
    entries: dict[int, SubscriberEntry] = {}
    refusals: dict[int, Errors] = {}
    seen, now = set[str](), ctx.now()
    for index, given in enumerate(subscribers):
        try:
            entry = _ENTRY.load(given)
        except ValidationError as e:
            refusals[index] = (
                explain_errors(e.messages_dict, given, _ENTRY, is_body=True)
                if len(refusals) < MAX_REFUSED_SHOWN
                else {}
            )
            continue
        if not allow_unlisted and find_in_use(entry.phone) is None:
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
