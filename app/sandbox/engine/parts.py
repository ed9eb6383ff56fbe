"""Parts and encoding of a text, for the dry run and the parts limit.

Tables from 3GPP TS 23.038.
"""

from functools import lru_cache
from typing import NamedTuple

_GSM_7 = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_TWO_SEPTETS = frozenset("|^€{}[]~\\\f")


class TextSize(NamedTuple):
    """Encoding in the dry run's words, `text` (GSM-7) or `unicode`, and number of parts."""

    encoding: str
    parts: int


@lru_cache(maxsize=1024)
def measure_text(text: str) -> TextSize:
    """Return the encoding and the parts of a text.

    >>> measure_text("a" * 160), measure_text("€" * 81).parts
    (TextSize(encoding='text', parts=1), 2)
    """
    if all(character in _GSM_7 or character in _TWO_SEPTETS for character in text):
        sizes = [2 if character in _TWO_SEPTETS else 1 for character in text]
        return TextSize("text", _count_parts(sizes, alone=160, joined=153))
    sizes = [2 if ord(character) > 0xFFFF else 1 for character in text]
    return TextSize("unicode", _count_parts(sizes, alone=70, joined=67))


def _count_parts(sizes: list[int], *, alone: int, joined: int) -> int:
    """Return the parts needed when no character may be split between two of them."""
    if sum(sizes) <= alone:
        return 1
    parts, room = 1, joined
    for size in sizes:
        if size > room:
            parts, room = parts + 1, joined
        room -= size
    return parts
