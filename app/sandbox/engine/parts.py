"""How many parts a text takes, for the dry run and the parts limit.

Tables from 3GPP TS 23.038.  The replacements are those Sinch documents as Auto Encoding, in
short: they apply only to a text that needs more than one part.
"""

from functools import lru_cache
from typing import NamedTuple

_GSM_7 = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_TWO_SEPTETS = frozenset("|^€{}[]~\\\f")
_LOOK_ALIKES = str.maketrans({
    "\u2018": "'", "\u2019": "'", "\u201a": "'", "\u201c": '"', "\u201d": '"', "\u201e": '"',
    "\u2013": "-", "\u2014": "-", "\u2026": "...", "\u00a0": " ", "\u2009": " ", "\u200b": "",
})  # fmt: skip


class Measured(NamedTuple):
    """A text as it will travel."""

    text: str
    unicode: bool
    parts: int


@lru_cache(maxsize=1024)
def measure(text: str, *, auto_encoding: bool) -> Measured:
    """The text, its alphabet and its parts.

    >>> measure("a" * 160, auto_encoding=False).parts, measure("€" * 81, auto_encoding=False).parts
    (1, 2)
    >>> measure("\u2018" * 71, auto_encoding=True)[1:]
    (False, 1)
    """
    measured = _measure_as_is(text)
    if auto_encoding and measured.unicode and measured.parts > 1:
        plainer = _measure_as_is(text.translate(_LOOK_ALIKES))
        return plainer if plainer.parts < measured.parts else measured
    return measured


def first_part(text: str) -> str:
    """What is left of a text cut to one part."""
    limit = 70 if _measure_as_is(text).unicode else 160
    kept = text[:limit]
    while _measure_as_is(kept).parts > 1:
        kept = kept[:-1]
    return kept


def _measure_as_is(text: str) -> Measured:
    if all(character in _GSM_7 or character in _TWO_SEPTETS for character in text):
        sizes = [2 if character in _TWO_SEPTETS else 1 for character in text]
        return Measured(text, False, _parts(sizes, alone=160, joined=153))
    sizes = [2 if ord(character) > 0xFFFF else 1 for character in text]
    return Measured(text, True, _parts(sizes, alone=70, joined=67))


def _parts(sizes: list[int], *, alone: int, joined: int) -> int:
    """Parts needed when no character may be split between two of them."""
    if sum(sizes) <= alone:
        return 1
    parts, room = 1, joined
    for size in sizes:
        if size > room:
            parts, room = parts + 1, joined
        room -= size
    return parts
