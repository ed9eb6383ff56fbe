"""Text normalization: lower case, no accents, one kind of each letter.  Pure."""

import re
import unicodedata
from collections.abc import Sequence

# Letters that Unicode does not decompose.
_LETTERS = str.maketrans(
    {"ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}
    | {"ى": "ي", "ة": "ه", "ی": "ي", "ک": "ك", "ـ": "", "ँ": "ं"}
)
# Letters in boxes and discs that Unicode does not decompose, either: 🅰 is a.
_SMALL_CAPITALS = zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ", "abcdefghijklmnoprstuvwyz", strict=True)
_LETTERS |= {ord(capital): letter for capital, letter in _SMALL_CAPITALS}
_LETTERS |= {
    start + place: chr(ord("a") + place) for start in (0x1F150, 0x1F170) for place in range(26)
}
# A word in two alphabets is one in Latin with letters that look alike: "stоp".
_MIXED = re.compile(
    r"(?<![^\W\d_])(?=[^\W\d_]*[a-z])(?=[^\W\d_]*[α-ωа-я\u0455-\u0458\u0501\u051b])[^\W\d_]+"
)
_LOOK_ALIKES = str.maketrans("аеорсухіјѕѵԁһквмнтαεορινκτυχ", "aeopcyxijsvdhkbmhtaeopivktux")
# Accents of Latin, Greek and Cyrillic, vowel points of Hebrew and Arabic, the nukta of Hindi.
_MARKS = re.compile("[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u093c]+")
# Joiners, direction marks, variation selectors and skin tones.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\ufe00-\ufe0f\ufeff™℠\U0001f3fb-\U0001f3ff\U000e0000-\U000e0fff]+"
)
_APOSTROPHES = re.compile("(?<=\\w)['’‘`´ʼ](?=\\w)")
_DRAWN_OUT = re.compile(r"([^\W\d_])\1\1+")
_SPACED_LETTERS = re.compile(r"\b[a-z](?:[ .\-*/,|·][a-z]){2,}\b")
_SPACES = re.compile(r"[ .\-*/,|·]")
# A sign that is typed for a letter, or for a word.
_TYPED = re.compile(r"\$(?=[a-z])"), re.compile(r"(?<=\bwrong )#(?!\w| of )")
_ROUND = re.compile("(?<=[a-z])[🛑⛔🚫⭕](?=[a-z])")
_NOT = re.compile(r"\b(do|did|does|would|is) not\b")
_SIGNS = "🛑⛔🚫✋🙅❌📵🔕🖕"
_SIGN = re.compile(f"([{_SIGNS}])")
# `\w` leaves out the vowel signs of Indian and Thai letters.
WORD_CHARACTERS = f"\\w\u0900-\u0963\u0966-\u0dff\u0e00-\u0eff\u1000-\u109f\u1780-\u17d3{_SIGNS}"
_CLAUSE_BREAKS = re.compile(f"[^{WORD_CHARACTERS} \\-–—/'+*#]+")
_WORD_BREAKS = re.compile(f"[^{WORD_CHARACTERS}]+")


def split_clauses(folded: str) -> Sequence[Sequence[str]]:
    """Return the words of each clause of a folded text.

    >>> split_clauses("wrong number, please stop!")
    [['wrong', 'number'], ['please', 'stop']]
    """
    clauses = (_WORD_BREAKS.sub(" ", clause).split() for clause in _CLAUSE_BREAKS.split(folded))
    return [words for words in clauses if words]


def split_words(text: str) -> list[str]:
    """Return the normalized words of a text."""
    return _WORD_BREAKS.sub(" ", fold(text)).split()


def split_lines(text: str) -> list[list[str]]:
    """Return the normalized words of each line of a text."""
    return [_WORD_BREAKS.sub(" ", line).split() for line in fold(text).split("\n")]


def fold(text: str) -> str:
    """Normalize the letters of a text and keep its punctuation.

    >>> fold("ＳＴＯＰ, s'il vous plaît"), fold("S.T.O.P. now, do not text")
    ('stop, sil vous plait', 'stop. now, dont text')
    """
    folded = text.lower() if text.isascii() else _fold_letters(text)
    folded = _DRAWN_OUT.sub(r"\1", _APOSTROPHES.sub("", folded.replace("_", " ")))
    folded = _SPACED_LETTERS.sub(lambda match: _SPACES.sub("", match[0]), folded)
    if "$" in folded or "#" in folded:
        dollar, hash_sign = _TYPED
        folded = hash_sign.sub("number", dollar.sub("s", folded))
    return _NOT.sub(r"\1nt", folded) if " not" in folded else folded


def _fold_letters(text: str) -> str:
    folded = unicodedata.normalize("NFKD", _INVISIBLE.sub("", text)).casefold()
    folded = unicodedata.normalize("NFC", _MARKS.sub("", folded)).translate(_LETTERS)
    folded = _ROUND.sub("o", folded)
    folded = _MIXED.sub(lambda match: match[0].translate(_LOOK_ALIKES), folded)
    return _SIGN.sub(r" \1 ", folded)
