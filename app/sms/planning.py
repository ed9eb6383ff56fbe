"""A broadcast before anything leaves: its batches, its personal texts, its size.  Pure."""

import re
from collections.abc import Mapping, Sequence
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
    """A text that could not be filled for somebody; the message says for whom."""


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


def select_used(text: str, parameters: Parameters) -> Parameters:
    """The parameters that the text has a placeholder for; Sinch has no use for the others."""
    return {
        name: parameters[name]
        for name in dict.fromkeys(_PLACEHOLDER.findall(text))
        if name in parameters
    }


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
