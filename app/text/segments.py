"""SMS segmentation: the encoding of a text, GSM-7 or UCS-2, and its number of parts.

Tables: 3GPP TS 23.038, section 6.2.1.  Part sizes: 160 septets or 70 UTF-16 code units alone,
153 or 67 in each part of a longer text, since the joining header takes the rest.  A part never
ends inside an escape pair or a surrogate pair.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

_BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = "\f^{}\\[~]|€"

_GSM7_ONLY = re.compile(f"[{re.escape(_BASIC + _EXTENSION)}]*")
_ESCAPE = "\x1b"
_ESCAPED = str.maketrans({character: _ESCAPE + character for character in _EXTENSION})


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


def measure_text(text: str) -> TextSize:
    """Return the encoding that a text needs and the number of parts it is split into.

    >>> measure_text("Pickup moved to 08:30")
    TextSize(encoding=<Encoding.GSM_7: 'GSM-7'>, parts=1)
    >>> measure_text("Snö ❄" * 20).parts
    2
    """
    if is_gsm7(text):
        return TextSize(Encoding.GSM_7, _count_gsm7_parts(text))
    return TextSize(Encoding.UCS_2, _count_ucs2_parts(text))


def _count_gsm7_parts(text: str) -> int:
    septets = text.translate(_ESCAPED)
    if len(septets) <= 160:
        return 1
    parts, start = 0, 0
    while start < len(septets):
        parts += 1
        start += 153
        if start < len(septets) and septets[start - 1] == _ESCAPE:
            start -= 1
    return parts


def _count_ucs2_parts(text: str) -> int:
    units = text.encode("utf-16-be")
    total = len(units) // 2
    if total <= 70:
        return 1
    parts, start = 0, 0
    while start < total:
        parts += 1
        start += 67
        if start < total and 0xD8 <= units[2 * (start - 1)] <= 0xDB:
            start -= 1
    return parts
