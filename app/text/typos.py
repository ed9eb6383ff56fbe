"""Suggestions for misspelt names.  Pure."""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import lru_cache

_LONGEST = 40
_ALIKE = 0.72


def suggest(
    word: str,
    known: Iterable[str],
    other_names: Mapping[str, str] | None = None,
    *,
    alike: float = _ALIKE,
) -> str:
    """Return the known name that a word was probably meant to be, or "".

    `other_names` maps words that are not spelt like the name they mean, without their underscores;
    `alike` is how alike the spellings must be, up to 1.

    >>> suggest("mesage", ["message", "sender"]), suggest("sendAt", ["send_at", "sender"])
    ('message', 'send_at')
    >>> suggest("to", ["message", "recipients"], {"to": "recipients"}), suggest("x", ["message"])
    ('recipients', '')
    """
    if len(word) > _LONGEST:
        return ""
    by_letters = {_simplify(name): name for name in known}
    meant = (other_names or {}).get(_simplify(word))
    if meant in by_letters.values():
        return str(meant)
    close = get_close_matches(_simplify(word), by_letters, n=1, cutoff=alike)
    return by_letters[close[0]] if close else ""


# The known names come again for each word.
@lru_cache(maxsize=1024)
def _simplify(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.lower())
