"""A broadcast before anything leaves: its batches, its personal texts, its size.  Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import TypeVar

from app.sinch.schemas import ReportMode
from app.sms.models.states import Category, Withheld
from app.subscribers.audiences.audience import Audience
from app.text.segments import Encoding, TextSize, measure_text

# Sinch takes 1 to 1,000 recipients in one batch.
MAX_BATCH_RECIPIENTS = 1_000
MAX_RECIPIENTS = 1_000_000
# Up to so many are handed to Sinch within their request.
MAX_INLINE_RECIPIENTS = 1_000
MAX_TEXT_CHARACTERS = 2_000
# Cut in one transaction, about 20 ms; an audience of more is put in order first.
CHUNKS_AT_ONCE = 20

DEFAULT = "default"

# Name and length as Sinch documents them for message parameterization.
PARAMETER_NAME = re.compile(r"[A-Za-z0-9._-]{1,16}")
_PLACEHOLDER = re.compile(r"\$\{([A-Za-z0-9._-]{1,16})\}")

T = TypeVar("T")
Parameters = Mapping[str, Mapping[str, str]]


class PlaceholderError(ValueError):
    """A text that could not be filled for somebody; the message says for whom."""


@dataclass(frozen=True, slots=True)
class TemplateName:
    """A stored text, in its newest version unless one is pinned."""

    name: str
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """Some recipients of a broadcast, a batch's worth at most, who are alike.

    `own` are their values by placeholder and recipient; `language` chooses among translations;
    `withheld` is why none of them is sent to.
    """

    recipients: Sequence[str]
    own: Mapping[str, Mapping[str, str]] | None = None
    language: str | None = None
    withheld: Withheld | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a client asks for, checked: recipients in E.164, each once.

    With an `audience` there are none: whoever it means is looked up when the send starts, and
    `fields` name what of a subscriber fills a placeholder.  `parameters` maps a placeholder's name
    to `{recipient or "default": value}`; `texts` are translations by language, of which `text` is
    the one of `language`; `invalid` are the entries left out because the client allowed it; `reply`
    is what it answers of a person's own texts.
    """

    recipients: Sequence[str]
    text: str
    size: TextSize
    audience: Audience | None = None
    tag: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    language: str | None = None
    template: TemplateName | None = None
    quote: str | None = None
    quote_tolerance: int = 0
    sender: str | None = None
    parameters: Parameters = field(default_factory=dict)
    send_at: datetime | None = None
    expire_at: datetime | None = None
    delivery_report: ReportMode | None = None
    reference: str | None = None
    flash: bool = False
    max_parts: int | None = None
    category: Category = Category.TRANSACTIONAL
    priority: int | None = None
    allow_repeat: bool = False
    duplicates_removed: int = 0
    invalid: Sequence[object] = ()
    reply: str | None = None


def cut_chunks(recipients: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Recipients in groups of at most `size`, order kept.

    >>> [len(chunk) for chunk in cut_chunks(["+4670"] * 2001, 1000)]
    [1000, 1000, 1]
    """
    for start in range(0, len(recipients), size):
        yield recipients[start : start + size]


def choose_chunk_size(*, parts: int, messages_per_second: float | None, ahead_s: float) -> int:
    """How many recipients a batch may have: Sinch's limit, and no more than a few seconds' worth.

    >>> choose_chunk_size(parts=1, messages_per_second=None, ahead_s=2)
    1000
    >>> choose_chunk_size(parts=3, messages_per_second=30, ahead_s=2)
    20
    """
    if messages_per_second is None:
        return MAX_BATCH_RECIPIENTS
    return max(1, min(MAX_BATCH_RECIPIENTS, int(messages_per_second * ahead_s / parts)))


def choose_priority(category: Category, recipients: int) -> int:
    """1 to 9: a few transactional texts overtake many, and those overtake marketing.

    >>> [choose_priority(Category(c), n) for c, n in
    ...  (("transactional", 1), ("transactional", 5000), ("marketing", 1))]
    [7, 5, 3]
    """
    if category is Category.MARKETING:
        return 3
    return 7 if recipients <= MAX_INLINE_RECIPIENTS else 5


def halve(start: int, size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The two halves of a slice, each as its start and size.

    >>> halve(10, 5)
    ((10, 2), (12, 3))
    """
    half = size // 2
    return (start, half), (start + half, size - half)


def make_reference(broadcast: str, chunk: int, start: int, level: int) -> str:
    """A batch's client_reference: opaque, without personal data, the same whenever it is made.

    A database restored from a backup cuts the same batches again, and Sinch's list then still
    knows them by these references.

    >>> make_reference("06eadcew01ykq3f2yhftk7dbp0", 0, 0, 0)
    'cl-9123ff358e303f205c144d3e'
    """
    place = f"{broadcast}/{chunk}/{start}/{level}".encode()
    return f"cl-{sha256(place).hexdigest()[:24]}"


def check_syntax(text: str) -> None:
    """Raise PlaceholderError for a '${' that begins no placeholder."""
    if _PLACEHOLDER.sub("", text).find("${") >= 0:
        raise PlaceholderError(
            "a '${' is not followed by a name of 1 to 16 letters, digits, '.', '-' or '_' and '}'"
        )


def check_placeholders(text: str, parameters: Parameters, recipients: Sequence[str]) -> None:
    """Raise PlaceholderError unless every `${name}` has a value for every recipient."""
    check_syntax(text)
    for name in find_placeholders(text):
        values = parameters.get(name)
        if values is None:
            raise PlaceholderError(f"${{{name}}} has no value: give it in parameters")
        if DEFAULT in values:
            continue
        missing = next((number for number in recipients if number not in values), None)
        if missing is not None:
            raise PlaceholderError(f"${{{name}}} has no value for {missing} and no default")


def find_placeholders(text: str) -> list[str]:
    """The names of a text's placeholders, each once.

    >>> find_placeholders("Hi ${name}, it is ${day}, ${name}")
    ['name', 'day']
    """
    return list(dict.fromkeys(_PLACEHOLDER.findall(text)))


def select_used(text: str, parameters: Parameters) -> Parameters:
    """The parameters that the text has a placeholder for; Sinch has no use for the others."""
    return {
        name: parameters[name]
        for name in dict.fromkeys(_PLACEHOLDER.findall(text))
        if name in parameters
    }


def fill_text(text: str, values: Mapping[str, str]) -> str:
    """The text with these values filled in; a placeholder without one stays.

    >>> fill_text("Hi ${name}, ${day}", {"name": "Ann"})
    'Hi Ann, ${day}'
    """
    return _PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), text)


def measure_messages(text: str, parameters: Parameters, recipients: Sequence[str]) -> TextSize:
    """The size of the largest message once placeholders are filled.

    UCS-2 when any message is; the parts of the one with most.  Raises PlaceholderError when a
    filled message is empty or longer than 2,000 characters.
    """
    names = _PLACEHOLDER.findall(text)
    if not names:
        return measure_text(text)
    sizes = {
        measure_text(_fill(text, dict(zip(parameters, filling, strict=True)), recipient))
        for filling, recipient in _find_fillings(parameters, recipients).items()
    }
    any_ucs2 = any(size.encoding is Encoding.UCS_2 for size in sizes)
    return TextSize(
        encoding=Encoding.UCS_2 if any_ucs2 else Encoding.GSM_7,
        parts=max(size.parts for size in sizes),
    )


def _find_fillings(parameters: Parameters, recipients: Sequence[str]) -> dict[tuple[str, ...], str]:
    """Each distinct row of values, in the order of the parameters, and somebody who gets it."""
    return {
        tuple(values.get(recipient, values.get(DEFAULT, "")) for values in parameters.values()): (
            recipient
        )
        for recipient in recipients
    }


def _fill(text: str, values: Mapping[str, str], recipient: str) -> str:
    """The text somebody gets; its length is checked before it is built."""
    names = _PLACEHOLDER.findall(text)
    fixed = len(text) - sum(len(name) + len("${}") for name in names)
    if fixed + sum(len(values[name]) for name in names) > MAX_TEXT_CHARACTERS:
        raise PlaceholderError(
            f"filled in for {recipient} it is longer than {MAX_TEXT_CHARACTERS} characters"
        )
    filled = _PLACEHOLDER.sub(lambda match: values[match[1]], text)
    if not filled.strip():
        raise PlaceholderError(f"filled in for {recipient} it is empty")
    return filled
