"""The characters that make a text dear, and those that look like them and do not.  Pure.

One character outside of GSM-7 leaves 70 characters to a part instead of 160.  Nothing here changes
a text: a look-alike is for a person to accept.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from app.text.segments import Encoding, is_gsm7, measure_text


def _spread(table: dict[str, str]) -> dict[str, str]:
    """Each character of the keys with its value."""
    return {character: value for keys, value in table.items() for character in keys}


_LOOK_ALIKES = _spread(
    {
        "‘’‚‛′ʼʻˈ`´‹›": "'",
        "“”„‟″«»¨〝〞": '"',
        "‐‑‒–—―−⁃﹘•‣◦●○▪■∙·¯": "-",
        "…": "...",
        "\t\u1680": " ",
        "\x0b\x85\u2028\u2029": "\n",
        "™": "(TM)",
        "℠": "(SM)",
        "©": "(C)",
        "®": "(R)",
        "×": "x",
        "÷⁄∕": "/",
        "±": "+/-",
        "≈˜": "~",
        "≤": "<=",
        "≥": ">=",
        "→": "->",
        "←": "<-",
        "⇒": "=>",
        "°": "deg",
        "¦": "|",
        "ˆ": "^",
        "¸": ",",
        "¢": "c",
        "₤": "£",
        "₹": "Rs",
        "µμ": "u",
        # Else the first digit would join a number before it.
        "¼": " 1/4",
        "½": " 1/2",
        "¾": " 3/4",
        "Ł": "L",
        "ł": "l",
        "Đ": "D",
        "đð": "d",
        "Ð": "D",
        "ħ": "h",
        "Ħ": "H",
        "ı": "i",
        "ŋ": "n",
        "Ŋ": "N",
        "ŧ": "t",
        "Ŧ": "T",
        "œ": "oe",
        "Œ": "OE",
        "þ": "th",
        "Þ": "Th",
        "ẞ": "ß",
        # Nearer than the letter without its mark.
        "ő": "ö",
        "Ő": "Ö",
        "ű": "ü",
        "Ű": "Ü",
        # They do not show at all.
        "\xad\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e": "",
        "\u2060\u2066\u2067\u2068\u2069\ufe0e\ufe0f\ufeff": "",
    }
)
# Letters of Greek and Cyrillic that are drawn like Latin ones.
_TWINS = dict(
    zip(
        "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧοАВЕЅІЈКМНОРСТХавеѕіјорсухё",
        "ABEZHIKMNOPTYXoABESIJKMHOPCTXaBesijopcyxe",
        strict=True,
    )
)
_WORD = re.compile(r"[^\W\d_]+")
_MARKS = ("Mn", "Me")


@dataclass(frozen=True, slots=True)
class NonGsmCharacter:
    """A character, its marks included, that no GSM-7 text may hold, and how often it is there.

    `look_alike` is what could stand in its place, "" where it does not show; None when nothing
    can.
    """

    character: str
    name: str
    count: int
    look_alike: str | None


def find_non_gsm_characters(text: str) -> tuple[NonGsmCharacter, ...]:
    """The characters that force a text into UCS-2, in the order of their first appearance.

    >>> found = find_non_gsm_characters("Don’t – 🙂")
    >>> [(each.character, each.name, each.look_alike) for each in found]
    ... # doctest: +NORMALIZE_WHITESPACE
    [('’', 'right single quotation mark', "'"), ('–', 'en dash', '-'),
     ('🙂', 'slightly smiling face', None)]
    """
    counts = Counter(found for found in _walk(text) if not is_gsm7(found[0]))
    return tuple(
        NonGsmCharacter(character, _name(character), count, look_alike)
        for (character, look_alike), count in counts.items()
    )


def suggest_gsm_text(text: str) -> str | None:
    """The text in GSM-7, written with look-alikes, in no more parts.

    None when it is in GSM-7 already, or something in it has no look-alike.

    >>> suggest_gsm_text("Don’t wait…")
    "Don't wait..."
    """
    size = measure_text(text)
    if size.encoding is Encoding.GSM_7:
        return None
    pieces = []
    for _, look_alike in _walk(text):
        if look_alike is None:
            return None
        pieces.append(look_alike)
    cheaper = "".join(pieces)
    return cheaper if measure_text(cheaper).parts <= size.parts else None


def _walk(text: str) -> Iterator[tuple[str, str | None]]:
    """Each character with its marks, and what could stand in its place: itself when it is cheap."""
    twins = _find_twins(text)
    place = 0
    for character in _join_marks(text):
        if is_gsm7(character):
            yield character, character
        elif place in twins:
            yield character, _TWINS[character[0]]
        else:
            yield character, _find_look_alike(character)
        place += len(character)


def _join_marks(text: str) -> Iterator[str]:
    """The characters of a text, each with the marks on it."""
    joined = ""
    for each in text:
        if joined and unicodedata.category(each) in _MARKS:
            joined += each
            continue
        if joined:
            yield joined
        joined = each
    if joined:
        yield joined


def _find_look_alike(character: str) -> str | None:
    composed = unicodedata.normalize("NFC", character)
    if is_gsm7(composed):
        return composed
    if composed in _LOOK_ALIKES:
        return _LOOK_ALIKES[composed]
    pieces = unicodedata.normalize("NFKD", composed)
    bare = "".join(each for each in pieces if unicodedata.category(each) not in _MARKS)
    drawn = "".join(_LOOK_ALIKES.get(each, each) for each in bare)
    return drawn if drawn and is_gsm7(drawn) else None


def _find_twins(text: str) -> set[int]:
    """Where letters of another alphabet may be taken for Latin ones.

    Only in a word that is then Latin throughout; and of words without a Latin letter, only where
    all words are.
    """
    words = [(match, _is_drawable(match[0])) for match in _WORD.finditer(text)]
    everywhere = all(drawable for _, drawable in words)
    return {
        place
        for match, drawable in words
        if drawable and (everywhere or any(map(_is_latin, match[0])))
        for place in range(*match.span())
        if text[place] in _TWINS
    }


def _is_drawable(word: str) -> bool:
    return all(each in _TWINS or is_gsm7(each) or _is_latin(each) for each in word)


def _is_latin(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith("LATIN")


def _name(character: str) -> str:
    names = (unicodedata.name(each, "").lower() or f"U+{ord(each):04X}" for each in character)
    return " and ".join(names)
