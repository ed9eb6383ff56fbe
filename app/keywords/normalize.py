"""Texts in one spelling: small letters without accents, one kind of each letter.  Pure."""

import re
import unicodedata
from collections.abc import Sequence

# Letters that Unicode does not take apart.
_LETTERS = str.maketrans(
    {
        "ø": "o",
        "æ": "ae",
        "œ": "oe",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "ı": "i",
        "ى": "ي",
        "ة": "ه",
        "ی": "ي",
        "ک": "ك",
        "ـ": "",
        "ँ": "ं",
        "_": " ",
    }
    | {chr(0x1F170 + place): chr(ord("a") + place) for place in range(26)}
)
# Accents of Latin, Greek and Cyrillic letters, vowel points of Hebrew and Arabic, the dot of Hindi.
_MARKS = re.compile("[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u093c]+")
# Nothing to see: joiners, marks of direction, how an emoji is to look, the skin of a hand.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\ufe00-\ufe0f\ufeff\U0001f3fb-\U0001f3ff\U000e0000-\U000e0fff]+"
)
_APOSTROPHES = re.compile("(?<=\\w)['’‘`´ʼ](?=\\w)")
_DRAWN_OUT = re.compile(r"([^\W\d_])\1\1+")
_NOT = re.compile(r"\b(do|did|does|would|is) not\b")
# Cyrillic and Greek letters that look like Latin ones.
_LOOK_ALIKES = str.maketrans("аеорсхуіјѕтмнквһԛԝαορτνιχκυμε", "aeopcxyijstmhkbhqwaoptvixkyue")
# What ends a clause, and what stands between words.  To `\w` the marks of Indian and Thai letters
# are no letters.
_SEPARATORS = re.compile("[^\\w\u0900-\u0963\u0966-\u0dff\u0e00-\u0e7f \\-–—/'+*#🛑⛔🚫✋]+")
_NOT_A_WORD = re.compile("[^\\w\u0900-\u0963\u0966-\u0dff\u0e00-\u0e7f🛑⛔🚫✋]+")
_SIGNS = re.compile("([🛑⛔🚫✋])")


def fold(text: str) -> str:
    """A text in its plainest spelling.

    >>> fold("ＳＴＯＰ, s'il vous plaît")
    'stop, sil vous plait'
    """
    if text.isascii():
        folded = text.lower().replace("_", " ")
        return _join(folded)
    folded = _INVISIBLE.sub("", text)
    folded = unicodedata.normalize("NFKD", folded).casefold()
    folded = _MARKS.sub("", folded)
    folded = unicodedata.normalize("NFC", folded).translate(_LETTERS)
    folded = _SIGNS.sub(r" \1 ", folded)
    return _join(folded)


def _join(folded: str) -> str:
    """With `don't` and `do not` as one word, and what is drawn out, `pleaseee`, as it is spelt."""
    folded = _DRAWN_OUT.sub(r"\1", _APOSTROPHES.sub("", folded))
    return _NOT.sub(r"\1nt", folded) if " not" in folded else folded


def split_clauses(folded: str) -> Sequence[Sequence[str]]:
    """The words of each sentence or part of one.

    >>> split_clauses("wrong number, please stop!")
    [['wrong', 'number'], ['please', 'stop']]
    """
    clauses = []
    for clause in _SEPARATORS.split(folded):
        words = _NOT_A_WORD.sub(" ", clause).split()
        if words:
            clauses.append(words)
    return clauses


def undo_look_alikes(folded: str) -> str:
    """A text in which letters of other alphabets stand in for Latin ones, in Latin."""
    return folded.translate(_LOOK_ALIKES)
