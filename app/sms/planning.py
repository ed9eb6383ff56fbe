"""A broadcast before anything leaves: its batches, its personal texts, its size.  Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from app.sinch.schemas import ReportMode
from app.text import Encoding, TextSize, measure_text

# Sinch takes 1 to 1,000 recipients in one batch.
MAX_BATCH_RECIPIENTS = 1_000
MAX_RECIPIENTS = 10_000
MAX_TEXT_CHARACTERS = 2_000

DEFAULT = "default"

# Name and length as Sinch documents them for message parameterization.
PARAMETER_NAME = re.compile(r"[A-Za-z0-9._-]{1,16}")
_PLACEHOLDER = re.compile(r"\$\{([A-Za-z0-9._-]{1,16})\}")

Parameters = Mapping[str, Mapping[str, str]]


class PlaceholderError(ValueError):
    """A placeholder that would not be filled for somebody; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broadcast:
    """What a client asked for, checked: recipients in E.164, each once.

    `parameters` maps a placeholder's name to `{recipient or "default": value}`; `invalid` are
    the entries left out because the client allowed it.
    """

    recipients: Sequence[str]
    text: str
    size: TextSize
    sender: str | None = None
    parameters: Parameters = field(default_factory=dict)
    send_at: datetime | None = None
    expire_at: datetime | None = None
    delivery_report: ReportMode | None = None
    reference: str | None = None
    flash: bool = False
    max_parts: int | None = None
    duplicates_removed: int = 0
    invalid: Sequence[object] = ()


def cut_batches(recipients: Sequence[str]) -> list[Sequence[str]]:
    """Recipients in groups of at most 1,000, order kept.

    >>> [len(batch) for batch in cut_batches(["+4670"] * 2001)]
    [1000, 1000, 1]
    """
    return [
        recipients[start : start + MAX_BATCH_RECIPIENTS]
        for start in range(0, len(recipients), MAX_BATCH_RECIPIENTS)
    ]


def select_parameters(parameters: Parameters, recipients: Sequence[str]) -> Parameters:
    """The values that a batch of these recipients needs: theirs and the defaults."""
    wanted = {*recipients, DEFAULT}
    return {
        name: {key: value for key, value in values.items() if key in wanted}
        for name, values in parameters.items()
    }


def check_placeholders(text: str, parameters: Parameters, recipients: Sequence[str]) -> None:
    """Raise PlaceholderError unless every `${name}` has a value for every recipient."""
    names = dict.fromkeys(_PLACEHOLDER.findall(text))
    if _PLACEHOLDER.sub("", text).find("${") >= 0:
        raise PlaceholderError(
            "a '${' is not followed by a name of 1 to 16 letters, digits, '.', '-' or '_' and '}'"
        )
    for name in names:
        values = parameters.get(name)
        if values is None:
            raise PlaceholderError(f"${{{name}}} has no value: give it in parameters")
        if DEFAULT in values:
            continue
        missing = next((number for number in recipients if number not in values), None)
        if missing is not None:
            raise PlaceholderError(f"${{{name}}} has no value for {missing} and no default")


def measure_messages(text: str, parameters: Parameters, recipients: Sequence[str]) -> TextSize:
    """The size of the largest message once placeholders are filled.

    UCS-2 when any message is; the parts of the one with most.
    """
    sizes = {measure_text(each) for each in _distinct_texts(text, parameters, recipients)}
    any_ucs2 = any(size.encoding is Encoding.UCS_2 for size in sizes)
    return TextSize(
        encoding=Encoding.UCS_2 if any_ucs2 else Encoding.GSM_7,
        parts=max(size.parts for size in sizes),
    )


def _distinct_texts(text: str, parameters: Parameters, recipients: Sequence[str]) -> Iterator[str]:
    used = {name: parameters[name] for name in _PLACEHOLDER.findall(text)}
    if not used:
        yield text
        return
    fillings = {
        tuple(values.get(recipient, values.get(DEFAULT, "")) for values in used.values())
        for recipient in recipients
    }
    for filling in fillings:
        filled = dict(zip(used, filling, strict=True))
        yield _PLACEHOLDER.sub(lambda match, filled=filled: filled[match[1]], text)  # type: ignore[misc]
