"""SMS segmentation: the encoding of a text, GSM-7 or UCS-2, and its number of parts.

Tables: 3GPP TS 23.038, section 6.2.1.  Part sizes: 160 septets or 70 UTF-16 code units alone,
153 or 67 in each part of a longer text, since the joining header takes the rest.  A part never
ends inside an escape pair or a surrogate pair.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = "\f^{}\\[~]|€"

_BASIC_ONLY = re.compile(f"[{re.escape(_BASIC)}]*")
_GSM7_ONLY = re.compile(f"[{re.escape(_BASIC + _EXTENSION)}]*")
_ESCAPE = "\x1b"
# An escape, or the upper byte of a high surrogate: the next unit belongs to it.
_FIRST_HALVES = (_ESCAPE, *range(0xD8, 0xDC))


class Encoding(StrEnum):
    """The character encodings of an SMS."""

    GSM_7 = "GSM-7"
    UCS_2 = "UCS-2"


@dataclass(frozen=True, slots=True)
class TextSize:
    """The encoding of a text and the number of parts that one copy is billed as."""

    encoding: Encoding
    parts: int


def is_gsm7(text: str) -> bool:
    """Return True if every character of a text is in GSM-7.

    >>> is_gsm7("Snö"), is_gsm7("Snow ❄")
    (True, False)
    """
    return bool(_GSM7_ONLY.fullmatch(text))


def is_plain(text: str, encoding: Encoding) -> bool:
    """Return True if each character of a text takes one septet or code unit of this encoding.

    >>> is_plain("Snö", Encoding.GSM_7), is_plain("1 €", Encoding.GSM_7)
    (True, False)
    >>> is_plain("1 €", Encoding.UCS_2), is_plain("🙂", Encoding.UCS_2)
    (True, False)
    """
    if encoding is Encoding.GSM_7:
        return bool(_BASIC_ONLY.fullmatch(text))
    return text == "" or max(text) <= "\uffff"


def count_plain_parts(encoding: Encoding, characters: int) -> int:
    """Return the number of parts of a text of which `is_plain` holds, by its length.

    >>> count_plain_parts(Encoding.GSM_7, 160), count_plain_parts(Encoding.UCS_2, 71)
    (1, 2)
    """
    alone, joined = (160, 153) if encoding is Encoding.GSM_7 else (70, 67)
    return 1 if characters <= alone else -(-characters // joined)


def measure_text(text: str) -> TextSize:
    """Return the encoding that a text needs and the number of parts it is split into.

    >>> measure_text("Pickup moved to 08:30")
    TextSize(encoding=<Encoding.GSM_7: 'GSM-7'>, parts=1)
    >>> measure_text("Snö ❄" * 20).parts
    2
    """
    if is_gsm7(text):
        return TextSize(Encoding.GSM_7, _count_parts(_escape(text), 160, 153))
    return TextSize(Encoding.UCS_2, _count_parts(text.encode("utf-16-be")[::2], 70, 67))


def find_largest(sizes: Collection[TextSize]) -> TextSize:
    """Return UCS-2 if any of the texts has it, and the most parts."""
    any_ucs2 = any(size.encoding is Encoding.UCS_2 for size in sizes)
    return TextSize(
        encoding=Encoding.UCS_2 if any_ucs2 else Encoding.GSM_7,
        parts=max(size.parts for size in sizes),
    )


def _escape(text: str) -> str:
    for character in _EXTENSION:  # ten times as fast as str.translate
        text = text.replace(character, _ESCAPE + character)
    return text


def _count_parts(units: str | bytes, alone: int, joined: int) -> int:
    """Count parts of septets, or of the upper bytes of UTF-16."""
    if len(units) <= alone:
        return 1
    parts, start = 0, 0
    while start < len(units):
        parts += 1
        start += joined
        if start < len(units) and units[start - 1] in _FIRST_HALVES:
            start -= 1
    return parts
