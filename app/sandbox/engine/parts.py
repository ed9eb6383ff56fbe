"""Parts of a text, for the dry run and the parts limit.

Tables from 3GPP TS 23.038.
"""

from functools import lru_cache

_GSM_7 = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_TWO_SEPTETS = frozenset("|^€{}[]~\\\f")


@lru_cache(maxsize=1024)
def count_parts(text: str) -> int:
    """Return the parts of a text.

    >>> count_parts("a" * 160), count_parts("€" * 81)
    (1, 2)
    """
    if all(character in _GSM_7 or character in _TWO_SEPTETS for character in text):
        sizes = [2 if character in _TWO_SEPTETS else 1 for character in text]
        return _divide(sizes, alone=160, joined=153)
    sizes = [2 if ord(character) > 0xFFFF else 1 for character in text]
    return _divide(sizes, alone=70, joined=67)


def _divide(sizes: list[int], *, alone: int, joined: int) -> int:
    """Return the parts needed when no character may be split between two of them."""
    if sum(sizes) <= alone:
        return 1
    parts, room = 1, joined
    for size in sizes:
        if size > room:
            parts, room = parts + 1, joined
        room -= size
    return parts
