"""Characters that force UCS-2, and GSM-7 replacements for them.  Pure.

One character outside GSM-7 leaves 70 characters to a part instead of 160.  Replacements are
suggested and never applied: a person decides.  Punctuation and accented Latin letters have one.
Numbers, currency signs, symbols and letters of other scripts have none.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from anyascii import anyascii

from app.text.segments import Encoding, is_gsm7, measure_text

_MARKS = ("Mn", "Me")
_DIGIT = re.compile("[0-9]|^$")
_THOUSANDS = "’ʼ′"
# A link, a domain or an e-mail address.
_LINK = re.compile(r"//|@|[^\W_]\.[^\W\d_]{2}")
# Where GSM-7 has something nearer than ASCII, and accents that people type as apostrophes.
_NEARER = {"ő": "ö", "Ő": "Ö", "ű": "ü", "Ű": "Ü", "ẞ": "ß", "\t": " "} | dict.fromkeys("`´ʼʻ", "'")


@dataclass(frozen=True, slots=True)
class NonGsmCharacter:
    """A character outside GSM-7 with its combining marks, and how often the text has it.

    `look_alike` is the GSM-7 replacement: "" for an invisible character, None where there is none.
    """

    character: str
    name: str
    count: int
    look_alike: str | None


def find_non_gsm_characters(text: str) -> tuple[NonGsmCharacter, ...]:
    """Return the characters that force a text into UCS-2, in the order of their first appearance.

    >>> found = find_non_gsm_characters("Don’t – 🙂")
    >>> [(character.character, character.name, character.look_alike) for character in found]
    ... # doctest: +NORMALIZE_WHITESPACE
    [('’', 'right single quotation mark', "'"), ('–', 'en dash', '-'),
     ('🙂', 'slightly smiling face', None)]
    """
    counts = Counter(character for character in _join_marks(text) if not is_gsm7(character))
    return tuple(
        NonGsmCharacter(character, _name(character), count, _replace(character))
        for character, count in counts.items()
    )


def suggest_gsm_text(text: str) -> str | None:
    """Return the text in GSM-7, or None.

    Returns None when the text is in GSM-7 already, when a character has no replacement, and when
    the replacements would take more parts.

    >>> suggest_gsm_text("Don’t wait…")
    "Don't wait..."
    """
    size = measure_text(text)
    if size.encoding is Encoding.GSM_7:
        return None
    characters = list(_join_marks(text))
    replaced = [
        character if is_gsm7(character) else _replace(character) for character in characters
    ]
    if None in replaced or _changes_number(characters) or _changes_link(characters, replaced):
        return None
    suggestion = "".join(filter(None, replaced))
    return suggestion if measure_text(suggestion).parts <= size.parts else None


def _changes_number(characters: Sequence[str]) -> bool:
    """Return True if a sign between two digits would read otherwise: "5·3" or "9‚99"."""
    neighbours = zip(characters, characters[1:], characters[2:], strict=False)
    return any(
        before.isdecimal() and behind.isdecimal() and not (is_gsm7(sign) or _divides_digits(sign))
        for before, sign, behind in neighbours
    )


def _changes_link(characters: Sequence[str], replaced: Sequence[str | None]) -> bool:
    """Return True if a link, an address or a code with digits would read otherwise: "ŁÓDŹ5"."""
    word = list[tuple[str, str | None]]()
    for character, new in chain(zip(characters, replaced, strict=True), ((" ", " "),)):
        if not character.isspace():
            word.append((character, new))
        elif word:
            if _changes_word(word):
                return True
            word.clear()
    return False


def _changes_word(word: list[tuple[str, str | None]]) -> bool:
    """Return True for a change within a link, or of a letter of a code; not of the signs around."""
    changed = [place for place, (character, new) in enumerate(word) if character != new]
    if not changed:
        return False
    inside = [place for place, (character, _) in enumerate(word) if _is_letter_or_digit(character)]
    written = "".join(character for character, _ in word)
    if _LINK.search(written):
        return bool(inside) and any(inside[0] <= place <= inside[-1] for place in changed)
    has_digit = any(character.isdecimal() for character, _ in word)
    return has_digit and any(_is_letter_or_digit(word[place][0]) for place in changed)


def _is_letter_or_digit(character: str) -> bool:
    return unicodedata.category(character[0])[0] in "LN"


def _divides_digits(sign: str) -> bool:
    """Return True for dashes, spaces, invisible characters and the apostrophe of thousands."""
    return sign in _THOUSANDS or unicodedata.category(sign[0]) in ("Pd", "Zs", "Cf")


def _join_marks(text: str) -> Iterator[str]:
    """Yield the characters of a text, each with the combining marks behind it."""
    joined = ""
    for character in text:
        if joined and unicodedata.category(character) not in _MARKS:
            yield joined
            joined = ""
        joined += character
    if joined:
        yield joined


def _replace(character: str) -> str | None:
    composed = unicodedata.normalize("NFC", character)
    if is_gsm7(composed):
        return composed
    if composed in _NEARER:
        return _NEARER[composed]
    replacement = anyascii(composed)
    if not is_gsm7(replacement):
        return None
    # A raised or lowered sign is part of a number: 10⁽²⁾, 2ⁿ.
    if unicodedata.decomposition(composed[0]).startswith(("<super>", "<sub>")):
        return None
    category = unicodedata.category(composed[0])
    if category.startswith("L"):
        is_latin = "LATIN" in unicodedata.name(composed[0], "").split()
        # Ƨ and Ƽ are letters that look like the digits 2 and 5.
        return replacement if is_latin and not _DIGIT.search(replacement) else None
    # Not the per mille sign, which would read "%0", nor the pilcrow, "P".
    is_punctuation = category.startswith(("P", "Z")) or category == "Cf"
    # A dagger would read "5+".
    if not is_punctuation or ("+" in replacement and composed != "＋"):
        return None
    return replacement if not any(map(str.isalnum, replacement)) else None


def _name(character: str) -> str:
    names = (unicodedata.name(one, "").lower() or f"U+{ord(one):04X}" for one in character)
    return " and ".join(names)
