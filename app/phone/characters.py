"""Characters of written numbers: invisible ones that copying adds, and digits of all scripts."""

import re
from unicodedata import category, decimal, normalize

# Format characters and controls, selectors of a glyph, and letters that have none.
_INVISIBLE = re.compile(
    "[\\x01-\\x08\\x0e-\\x1b\\x7f-\\x84\\x86-\\x9f\\u00ad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f"
    "\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u206f\\u2800\\u3164\\ufe00-\\ufe0f\\ufeff\\uffa0\\ufff9-\\ufffb"
    "\\U000e0000-\\U000e0fff]"
)


def remove_invisible(text: str) -> str:
    """Return a text without characters of no width, such as marks of its direction.

    >>> remove_invisible("\\u202a+46701234567\\u202c")
    '+46701234567'
    """
    return text if text.isascii() and text.isprintable() else _INVISIBLE.sub("", text)


def simplify_characters(text: str) -> str:
    """Return a text with ASCII digits, signs and blanks in place of their look-alikes.

    Not of digits that are no part of a number, such as those of footnotes.

    >>> simplify_characters("＋４６ ٧٠"), simplify_characters("+46701¹")
    ('+46 70', '+46701¹')
    """
    return remove_invisible(text if text.isascii() else "".join(map(_simplify, text)))


def _simplify(character: str) -> str:
    if category(character) == "Nd":
        return str(decimal(character))
    plain = normalize("NFKC", character)
    # Not of an accent by itself, which would become a blank and a combining one.
    return character if len(plain) > 1 or plain.isdigit() else plain
