"""A few people of a draft's audience: who get its text, with its values, and who do not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from sqlalchemy import Row

from app.sms.audience.expand import iterate_chunks
from app.sms.context import Context
from app.sms.drafts.count import NEAR, PersonCopy, fill_all, make_text_request
from app.sms.drafts.request import list_people, make_request
from app.sms.models.states import ExclusionReason
from app.sms.quotes.estimate import check_phones, explain, find_span, iterate_reasons
from app.sms.quotes.serialize import prepare_quote
from app.sms.request.model import BroadcastRequest
from app.subscribers.lists.phone_list import SortedPhones
from app.subscribers.profiles.queries import Person, look_up_subscribers

# People who are shown, and who are looked at to find some who get the text.
_SHOWN, _LOOKED_AT = 10, 1_000
# People who are looked at in a quarter of a second to find those left out for a reason.
_LOOKED_AT_ONCE = 25_000


@dataclass(frozen=True, slots=True)
class Place:
    """A place among those of an audience who are left out for a reason.

    `start` is a position of iterate_reasons; the first `skipped` of those who come with it are
    before the place.
    """

    start: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class SomePerson:
    """A person who gets the text: number, values by placeholder, and their subscriber, if any."""

    phone: str
    values: Mapping[str, str]
    subscriber: Person | None


def list_some(
    ctx: Context, body: Mapping[str, Any], listed: SortedPhones | None
) -> list[SomePerson]:
    """Return the first ten people of a draft's audience who get its text; fewer if most do not.

    Raises as count_text does.
    """
    request, _ = make_text_request(ctx, {"message": "-", **body}, listed)
    copies = islice(fill_all(ctx, request, NEAR), _LOOKED_AT)
    found: list[PersonCopy] = []
    while len(found) < _SHOWN and (looked_at := list(islice(copies, NEAR))):
        excluded = _find_excluded(ctx, request, [copy.phone for copy in looked_at])
        found += (copy for copy in looked_at if copy.phone not in excluded)
    known = look_up_subscribers(ctx.subscriber_context, [copy.phone for copy in found[:_SHOWN]])
    return [SomePerson(copy.phone, copy.values, known.get(copy.phone)) for copy in found[:_SHOWN]]


def find_copies(
    ctx: Context, body: Mapping[str, Any], listed: SortedPhones | None, phones: Sequence[str]
) -> tuple[list[PersonCopy], dict[str, ExclusionReason]]:
    """Return the copies of those among a few numbers who are in a draft's audience.

    Also returns those who are in it and get nothing, with the reason.  The copies have no place.
    Raises as count_text does.
    """
    request, _ = make_text_request(ctx, body, listed)
    if request.audience:
        request = replace(request, audience=replace(request.audience, phones=tuple(phones)))
    else:
        theirs = set(request.recipients)
        request = replace(request, recipients=[phone for phone in phones if phone in theirs])
    excluded = {
        phone: chunk.exclusion_reason
        for chunk in iterate_chunks(ctx, request, page_size=NEAR)
        if chunk.exclusion_reason
        for phone in chunk.recipients
    }
    copies = [replace(copy, number=0) for copy in fill_all(ctx, request, NEAR)]
    excluded |= _find_excluded(ctx, request, [copy.phone for copy in copies])
    return [copy for copy in copies if copy.phone not in excluded], excluded


def list_left_out(
    ctx: Context, draft: Row[Any], reason: ExclusionReason, *, place: Place, limit: int
) -> tuple[list[str], Place | None]:
    """Return numbers of a draft's audience that get nothing for a reason: see iterate_reasons.

    It begins at a place, and looks at some people only.  Also returns the place to go on from; None
    at the end.  Raises as quote_draft does.
    """
    request = make_request(draft.body, list_people(ctx, draft), now=ctx.now())
    request = prepare_quote(ctx, request, recipients=_LOOKED_AT_ONCE)
    phones: list[str] = []
    looked_at = 0
    for start, people in iterate_reasons(ctx, request, start=place.start):
        if looked_at >= _LOOKED_AT_ONCE:
            return phones, Place(start)
        skipped = place.skipped if start == place.start else 0
        found = [phone for phone, why in people if why is reason][skipped:]
        room = limit - len(phones)
        phones += found[:room]
        if len(found) > room:
            return phones, Place(start, skipped + room)
        looked_at += len(people)
    return phones, None


def _find_excluded(
    ctx: Context, request: BroadcastRequest, phones: list[str]
) -> dict[str, ExclusionReason]:
    """Return why some get nothing, now or later."""
    span = find_span(ctx, request)
    with ctx.db.read() as tx:
        eligibilities = check_phones(tx, ctx, request, phones, span)
    reasons = {phone: explain(each, span) for phone, each in eligibilities.items()}
    return {phone: reason for phone, reason in reasons.items() if reason}
