"""Counts of a text while it is written: parts and cost over its audience, and a person's copy."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from sqlalchemy import Row

from app.sms.audience.expand import count_recipients, iterate_chunks
from app.sms.caps.prices import Cost, read_prices
from app.sms.content.placeholders import fill_text, find_placeholders
from app.sms.context import Context
from app.sms.drafts.request import TEXT_KEYS, make_request, merge_values, read_times, select_text
from app.sms.models.states import Category
from app.sms.quotes.estimate import Estimate, estimate_request
from app.sms.request.model import BroadcastRequest, collect_defaults
from app.sms.request.prepare import prepare_request
from app.sms.request.schemas import BroadcastRequestSchema
from app.subscribers.audiences.audience import Audience, has_at_most
from app.subscribers.lists.phone_list import SortedPhones
from app.text.lookalikes import NonGsmCharacter, find_non_gsm_characters, suggest_gsm_text
from app.text.segments import measure_text

# More people are not looked at while a text is written.
MAX_COUNTED = 10_000
# A page that shows them is there within a tenth of a second.
_FEW = 1_000
# People who are looked at to find one of the first ones.
NEAR = 100
# More characters are not said to be left out.
_MAX_SURPLUS = 20


@dataclass(frozen=True, slots=True)
class TextCount:
    """A text over its audience: `histogram` counts people by the parts of their own text.

    `texts` are by language; a text without one has the language None.  `people` are all of the
    audience, `counted` those who were looked at, the first ones.  `is_everybody` is True while
    there is no audience, and all subscribers stand for it.  `least_cost` is the cost if all texts
    had as few parts as the shortest.
    """

    texts: Mapping[str | None, str]
    encoding: str
    parts: int
    histogram: Mapping[int, int]
    people: int
    counted: int
    is_everybody: bool
    cost: Cost
    least_cost: Cost


@dataclass(frozen=True, slots=True)
class ShorterText:
    """People whose own values give their text more parts than `parts`, those of the shortest.

    With `characters` less no text has more; it is None for too many characters to leave out, or if
    not all people were looked at.
    """

    people: int
    parts: int
    characters: int | None


@dataclass(frozen=True, slots=True)
class DraftCount:
    """An estimate of a draft's audience, and its cost: of the first `counted` of all its people."""

    estimate: Estimate
    cost: Cost
    people: int
    counted: int

    @property
    def histogram(self) -> Mapping[int, int]:
        """People by the parts of their own text."""
        return self.estimate.histogram


@dataclass(frozen=True, slots=True)
class CheaperText:
    """Costly characters of a text: which they are, and the count of the same text without them.

    `count` is None if there is no such text.
    """

    characters: tuple[NonGsmCharacter, ...]
    count: TextCount | None


@dataclass(frozen=True, slots=True)
class PersonCopy:
    """The text as one person of the audience gets it, and their place in it.

    `values` are those that it has, by placeholder.
    """

    phone: str
    text: str
    number: int
    values: Mapping[str, str]


def count_text(ctx: Context, body: Mapping[str, Any], listed: SortedPhones | None) -> TextCount:
    """Count the text of a draft's body over its audience, else over all subscribers.

    Raises ValidationError, BadInput, NotFound and Conflict for a text that cannot be sent.
    """
    request, is_everybody = make_text_request(ctx, body, listed)
    return _count(ctx, request, is_everybody=is_everybody)


def _count(ctx: Context, request: BroadcastRequest, *, is_everybody: bool) -> TextCount:
    total = count_recipients(ctx, request)
    estimate = estimate_request(ctx, request, limit=MAX_COUNTED)
    least = min(estimate.histogram, default=0)
    with ctx.db.read() as tx:
        prices = read_prices(tx)
    return TextCount(
        texts=_list_texts(request),
        encoding=request.size.encoding.value,
        parts=request.size.parts,
        histogram=dict(sorted(estimate.histogram.items())),
        people=total,
        counted=min(total, MAX_COUNTED),
        is_everybody=is_everybody,
        cost=prices.cost(estimate.parts),
        least_cost=prices.cost({name: n * least for name, n in estimate.recipients.items()}),
    )


def count_draft(ctx: Context, body: Mapping[str, Any], listed: SortedPhones | None) -> DraftCount:
    """Count a draft's audience at its start: who gets it, who waits, and who is left out.

    What is not chosen yet counts as the API's default.  Raises as make_request does, and NotFound
    and BadInput for an audience without people or of unknown tags.
    """
    request = make_request({"message": "-", **body}, listed, now=ctx.now())
    request = prepare_request(ctx, request)
    total = count_recipients(ctx, request)
    estimate = estimate_request(ctx, request, limit=MAX_COUNTED)
    with ctx.db.read() as tx:
        cost = read_prices(tx).cost(estimate.parts)
    return DraftCount(estimate, cost, total, min(total, MAX_COUNTED))


def has_few_people(ctx: Context, draft: Row[Any] | None) -> bool:
    """Return True if a page can wait until the people of a draft are counted.

    Without an audience all subscribers stand for it.
    """
    if draft and draft.numbers:
        return bool(draft.numbers.count("\n") < _FEW)
    if draft and draft.file:
        return len(draft.file["rows"]) <= _FEW
    stored = draft.body.get("audience") if draft else None
    with ctx.db.read() as tx:
        return has_at_most(tx, Audience.from_json(stored) if stored else Audience(), _FEW)


def find_cheaper(ctx: Context, body: Mapping[str, Any], listed: SortedPhones | None) -> CheaperText:
    """Return what is costly in the text of a draft's body, and how it counts without that."""
    request, is_everybody = make_text_request(ctx, body, listed)
    texts = _list_texts(request)
    characters = find_non_gsm_characters("\n".join(texts.values()))
    cheaper = {key: suggest_gsm_text(text) or text for key, text in texts.items()}
    if cheaper == texts:
        return CheaperText(characters, None)
    other = prepare_request(
        ctx,
        replace(
            request,
            template=None,
            text=cheaper[request.language],
            texts={key: cheaper[key] for key in request.texts},
        ),
    )
    return CheaperText(characters, _count(ctx, other, is_everybody=is_everybody))


def find_shorter(
    ctx: Context, body: Mapping[str, Any], listed: SortedPhones | None, counted: TextCount
) -> ShorterText | None:
    """Return how many people's own values make a text longer, and by how much it is too long.

    Returns None if they make no difference, or if there are texts in several languages.
    """
    parts = min(counted.histogram, default=0)
    longer = sum(people for number, people in counted.histogram.items() if number > parts)
    if not longer or len(counted.texts) > 1:
        return None
    if counted.counted < counted.people:
        return ShorterText(longer, parts, None)
    request, _ = make_text_request(ctx, body, listed)
    copies = fill_all(ctx, request, MAX_COUNTED)
    surplus = max((_count_surplus(copy.text, parts) for copy in copies), default=0)
    return ShorterText(longer, parts, surplus if surplus <= _MAX_SURPLUS else None)


def _count_surplus(text: str, parts: int) -> int:
    """Return by how many characters a text exceeds a number of parts, at most one too many."""
    tried = range(_MAX_SURPLUS + 1)
    shorter = (n for n in tried if measure_text(text[: len(text) - n]).parts <= parts)
    return next(shorter, _MAX_SURPLUS + 1)


def fill_for_person(
    ctx: Context, body: Mapping[str, Any], listed: SortedPhones | None, *, number: int
) -> PersonCopy | None:
    """Return the copy of the person at this place of the audience, 0 for the longest one.

    Returns None for an empty audience.  A place past the end is that of the first person.
    """
    request, _ = make_text_request(ctx, body, listed)
    page_size = max(number, NEAR) if number else MAX_COUNTED
    copies = islice(fill_all(ctx, request, page_size), MAX_COUNTED)
    if number == 0:
        return max(copies, key=lambda copy: len(copy.text), default=None)
    first = next(copies, None)
    if first is None or number == 1:
        return first
    return next(islice(copies, number - 2, None), first)


def fill_for_first(ctx: Context, body: Mapping[str, Any], listed: SortedPhones | None) -> str:
    """Return the copy of the audience's first person; without people that of the defaults."""
    request, _ = make_text_request(ctx, body, listed)
    first = next(fill_all(ctx, request, NEAR), None)
    return first.text if first else fill_text(request.text, collect_defaults(request))


def fill_all(ctx: Context, request: BroadcastRequest, page_size: int) -> Iterator[PersonCopy]:
    """Yield the copies of an audience whose texts can be filled, in pages of this size."""
    defaults, number = collect_defaults(request), 0
    for chunk in iterate_chunks(ctx, request, page_size=page_size):
        if chunk.exclusion_reason is not None:
            continue
        text, parameters = request.texts.get(chunk.language or "", request.text), chunk.parameters
        names = find_placeholders(text)
        for phone in chunk.recipients:
            number += 1
            own = {
                name: values[phone]
                for name, values in (parameters or {}).items()
                if phone in values
            }
            known = defaults | own
            values = {name: known[name] for name in names if name in known}
            yield PersonCopy(phone, fill_text(text, values), number, values)


def _list_texts(request: BroadcastRequest) -> dict[str | None, str]:
    """Return the texts of a request by language, one at least."""
    return {request.language: request.text} | dict(request.texts)


def make_text_request(
    ctx: Context, body: Mapping[str, Any], listed: SortedPhones | None
) -> tuple[BroadcastRequest, bool]:
    """Return a prepared request of a draft's text and people, and True without an audience."""
    request: BroadcastRequest = BroadcastRequestSchema(only=TEXT_KEYS).load(select_text(body))
    audience = body.get("audience")
    is_everybody = not audience and not listed
    starts_at, ends_at = read_times(body, ctx.now())
    return prepare_request(
        ctx,
        replace(
            request,
            recipients=listed.phones if listed else [],
            parameters=merge_values(listed, request.parameters),
            audience=Audience.from_json(audience)
            if audience
            else (Audience() if is_everybody else None),
            fields=body.get("fields", {}),
            category=Category(body.get("category", Category.TRANSACTIONAL)),
            sender=body.get("sender"),
            send_at=starts_at,
            expire_at=ends_at,
        ),
    ), is_everybody
