"""Bulk upsert: subscribers of one API request are created or changed."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from loguru import logger
from marshmallow import ValidationError

from app.errors import BadInput
from app.phone.reader import PhoneReader
from app.subscribers.context import SubscriberContext
from app.subscribers.profiles.entry import OnConflict, SubscriberEntry
from app.subscribers.profiles.schemas import UNLISTED, EntrySchema
from app.subscribers.profiles.upsert import EntryOutcome, UpsertResult, write_entries

MAX_REFUSED_SHOWN = 100
_ENTRY = EntrySchema()
_FUTURE = {"consent": {"at": ["In the future."]}}
_TWICE = {"phone": ["Given before in this request."]}


@dataclass(frozen=True, slots=True)
class RejectedEntry:
    """An invalid entry of a request: its index, and the errors by field."""

    index: int
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Upserted:
    """The result of a bulk upsert."""

    result: UpsertResult
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
    """Create or change subscribers: all or nothing, or without invalid ones if `skip_invalid`.

    Raises BadInput that names the invalid entries.
    """
    entries, refusals = _check(ctx, subscribers, allow_unlisted=allow_unlisted)
    if refusals and not skip_invalid:
        raise _reject(refusals)
    with ctx.db.write() as tx:
        result = write_entries(
            tx, ctx, list(entries.values()), on_conflict=on_conflict, actor=actor, channel="api"
        )
        indexes = {entry.phone: index for index, entry in entries.items()}
        refusals += (
            RejectedEntry(indexes[phone], {"attributes": [error]})
            for phone, error in result.errors.items()
        )
        if refusals and not skip_invalid:
            raise _reject(refusals)
    refusals.sort(key=lambda refusal: refusal.index)
    logger.bind(
        client=actor,
        created=result.count(EntryOutcome.CREATED),
        updated=result.count(EntryOutcome.UPDATED),
        unchanged=result.count(EntryOutcome.UNCHANGED),
        refused=len(refusals),
    ).info("subscribers were created or changed")
    return Upserted(result, refusals)


def show_refusals(refusals: Sequence[RejectedEntry]) -> dict[str, Any]:
    """Return the number of invalid entries, and the first hundred of them with the reasons."""
    shown = [asdict(refusal) for refusal in refusals[:MAX_REFUSED_SHOWN]]
    return {"refused": len(refusals), "refusals": shown}


def _check(
    ctx: SubscriberContext, subscribers: Iterable[Any], *, allow_unlisted: bool
) -> tuple[dict[int, SubscriberEntry], list[RejectedEntry]]:
    """Return valid entries by index, each of another number, and the invalid ones."""
    reader = PhoneReader(check=not allow_unlisted)
    entries: dict[int, SubscriberEntry] = {}
    refusals: list[RejectedEntry] = []
    seen, now = set[str](), ctx.now()
    for index, given in enumerate(subscribers):
        try:
            entry = _ENTRY.load(given)
        except ValidationError as e:
            refusals.append(RejectedEntry(index, e.messages_dict))
            continue
        try:
            entry = replace(entry, phone=reader.read(entry.phone))
        except ValueError:
            refusals.append(RejectedEntry(index, {"phone": [UNLISTED]}))
            continue
        agreed_at = entry.consent.at if entry.consent else None
        if entry.phone in seen:
            refusals.append(RejectedEntry(index, _TWICE))
        elif agreed_at is not None and agreed_at > now:
            refusals.append(RejectedEntry(index, _FUTURE))
        else:
            seen.add(entry.phone)
            entries[index] = entry
    return entries, refusals


def _reject(refusals: Sequence[RejectedEntry]) -> BadInput:
    first = min(refusals, key=lambda refusal: refusal.index)
    return BadInput(
        f"{len(refusals)} of the subscribers are refused, nothing was done: the first is number "
        f"{first.index}, counted from 0.",
        **show_refusals(refusals),
    )
