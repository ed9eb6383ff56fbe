"""Many people in one request: made where they are not there yet, else changed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from loguru import logger
from marshmallow import ValidationError

from app.errors import BadInput
from app.phone.e164 import inspect_number
from app.subscribers.context import SubscriberContext
from app.subscribers.profiles.entry import OnConflict, SubscriberEntry
from app.subscribers.profiles.schemas import UNLISTED, EntrySchema
from app.subscribers.profiles.upsert import UpsertResult, write_entries

MAX_REFUSED_SHOWN = 100
_ENTRY = EntrySchema()
_FUTURE = {"consent": {"at": ["In the future."]}}
_TWICE = {"phone": ["Given before in this request."]}


@dataclass(frozen=True, slots=True)
class RejectedEntry:
    """What is wrong with the entry at this place of a request, by field."""

    index: int
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Upserted:
    """What became of the entries of a request."""

    outcome: UpsertResult
    refusals: list[RejectedEntry]


def upsert_subscribers(
    ctx: SubscriberContext,
    subscribers: Sequence[Any],
    *,
    actor: str,
    on_conflict: OnConflict = OnConflict.MERGE,
    skip_invalid: bool = False,
    allow_unlisted: bool = False,
) -> Upserted:
    """Make or change subscribers, all or nothing; with `skip_invalid` without what is refused.

    Raises BadInput that names what is refused.
    """
    entries, refusals = _check(ctx, subscribers, allow_unlisted=allow_unlisted)
    if refusals and not skip_invalid:
        raise _refuse(refusals)
    with ctx.db.write() as tx:
        outcome = write_entries(
            tx, ctx, list(entries.values()), on_conflict=on_conflict, actor=actor, channel="api"
        )
        places = {entry.phone: index for index, entry in entries.items()}
        refusals += (
            RejectedEntry(places[phone], {"attributes": [fault]})
            for phone, fault in outcome.faults.items()
        )
        if refusals and not skip_invalid:
            raise _refuse(refusals)
    refusals.sort(key=lambda refusal: refusal.index)
    logger.bind(
        client=actor,
        made=len(outcome.made),
        updated=outcome.updated,
        unchanged=outcome.unchanged,
        refused=len(refusals),
    ).info("subscribers were made or changed")
    return Upserted(outcome, refusals)


def show_refusals(refusals: Sequence[RejectedEntry]) -> dict[str, Any]:
    """How many entries were refused, and the first hundred of them with the reasons."""
    shown = [{"index": each.index, "fields": each.fields} for each in refusals[:MAX_REFUSED_SHOWN]]
    return {"refused": len(refusals), "refusals": shown}


def _check(
    ctx: SubscriberContext, subscribers: Iterable[Any], *, allow_unlisted: bool
) -> tuple[dict[int, SubscriberEntry], list[RejectedEntry]]:
    """The entries by their place, each of another number, and those that are none."""
    entries: dict[int, SubscriberEntry] = {}
    refusals: list[RejectedEntry] = []
    seen, now = set[str](), ctx.now()
    for index, given in enumerate(subscribers):
        try:
            entry = _ENTRY.load(given)
        except ValidationError as e:
            refusals.append(RejectedEntry(index, e.messages_dict))
            continue
        agreed_at = entry.consent.at if entry.consent else None
        if entry.phone in seen:
            refusals.append(RejectedEntry(index, _TWICE))
        elif not allow_unlisted and not inspect_number(entry.phone).valid:
            refusals.append(RejectedEntry(index, {"phone": [UNLISTED]}))
        elif agreed_at is not None and agreed_at > now:
            refusals.append(RejectedEntry(index, _FUTURE))
        else:
            seen.add(entry.phone)
            entries[index] = entry
    return entries, refusals


def _refuse(refusals: Sequence[RejectedEntry]) -> BadInput:
    first = min(refusals, key=lambda refusal: refusal.index)
    return BadInput(
        f"{len(refusals)} of the subscribers are refused, nothing was done: the first is number "
        f"{first.index}, counted from 0.",
        **show_refusals(refusals),
    )
