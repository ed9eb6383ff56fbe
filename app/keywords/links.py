"""Links and phone numbers by which one opts out: "Unsubscribe: acme.example/out".  Pure.

All words of the clause have to be about texts: "Opt out of winter: acme.example" is none.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

from app.keywords.normalize import split_words
from app.keywords.vocabulary import BESIDE_OUT, NONE_OF, OUT, find_word, is_stop, is_text

# A link, a domain or a phone number; its host.
_TARGET = re.compile(
    r"(?:https?://)?((?<![\w.@-])(?:[\w.+-]{1,64}@)?[\w-]{1,63}(?:\.[\w-]{1,63}){0,3}\.[a-z]{2,12})\b(?:[/?]\S*)?"
    r"|(?<![\w.])\+?(?:[0-9][ ()/-]{0,2}){7,16}",
    re.IGNORECASE,
)
_BOUNDARY = re.compile(r"[.!?…。！？;,:\n()|•*–—]+|\s-\s")
_END = re.compile(r"[.!?…。！？;,\n()|•*–—]|\s-\s")
# The characters that are looked at on each side of a link, and the clauses ahead of it.
_NEAR, _CLAUSES = 80, 4
_SHORTEST_NAME = 3
_ENDS = ("stop_within", "stop", "stop_alone")
# Of those whose texts we call so we send none.
_OF_OTHERS = frozenset(("ad", "ads", "spam", "junk", "crap", "calls"))
# What is sent by all others, and who ends it: "Unsubscribe from all your newsletters with Acme".
_MAIL_OF_OTHERS = re.compile(r"\byour (?:\w+ )?(?:newsletters|lists|mails|emails|subscriptions)\b")
_NOT_OUT = re.compile(r"\b(?:dont|not|never|why|before)(?: you)? (?:unsub|opt(?:ing)? ?out)")
_BY_MEANS_OF = frozenset(split_words("with using mit avec con com med met cu dengan"))


def names_link(text: str) -> bool:
    """Return True if a clause says that a link, or a number to call, is for opting out.

    >>> names_link("Unsubscribe: acme.example/out"), names_link("Opt out of winter: acme.example")
    (True, False)
    """
    for target in _TARGET.finditer(text):
        host, behind = (target[1] or "").lower(), text[target.end() :]
        # A number may be an amount: "BAJA 500000 pesos".
        if says_out(text[: target.start()], host) and (host or goes_on_about_texts(behind)):
            return True
        if says_out_next(behind, host):
            return True
    return False


def says_out(text: str, host: str = "") -> bool:
    """Return True if the end of a text, from the beginning of a clause on, is about opting out.

    >>> says_out("Sale! To unsubscribe:"), says_out("Unsubscribe from boredom:")
    (True, False)
    """
    near = text[-_NEAR:].rstrip(" ?:=-–—>→(\"'“„«")
    starts = [0, *(boundary.end() for boundary in _BOUNDARY.finditer(near))]
    return any(_says_out(near[start:], host) for start in starts[-_CLAUSES:])


def says_out_next(text: str, host: str = "") -> bool:
    """Return True if the clause at the beginning of a text is about opting out."""
    return _says_out(_cut(text), host)


def goes_on_about_texts(text: str) -> bool:
    """Return True if the clause at the beginning of a text is about texts or opting out.

    >>> goes_on_about_texts(" to end Acme texts"), goes_on_about_texts(" to end your search")
    (True, False)
    """
    clause = _cut(text)
    words = split_words(clause)
    if OUT.search(" ".join(words)):
        return True
    named = _find_names(words, clause) if any(map(_is_text, words)) else set()
    return all(_is_known(word) or word in named for word in words)


def _cut(text: str) -> str:
    """Return the first clause of a text."""
    return _END.split(text[:_NEAR], maxsplit=1)[0]


def _says_out(clause: str, host: str) -> bool:
    """Return True for words that are about opting out of texts, and about nothing else."""
    words = split_words(clause)
    line, found = OUT.subn(" ", " ".join(words))
    if not found:
        return _ends_texts(words) and all(map(_is_known, words))
    left = line.split()
    # "Unsubscribe from Acme texts", "Unsubscribe from Acme: acme.example".
    named = {word for word, behind in pairwise([*left, ""]) if _is_text(behind)}
    named &= _find_names(left, clause)
    named |= {
        word
        for before, word in pairwise(["", *left])
        if len(word) >= _SHORTEST_NAME and word in host and before not in _BY_MEANS_OF
    }
    if _MAIL_OF_OTHERS.search(line) or _NOT_OUT.search(" ".join(words)):
        return False
    return all(_is_known(word) or word in named for word in left)


def _find_names(words: Iterable[str], clause: str) -> set[str]:
    """Return the words that have a capital."""
    return {word for word in words if word.capitalize() in clause or word.upper() in clause}


def _is_known(word: str) -> bool:
    return (
        word in BESIDE_OUT
        or word in NONE_OF
        or word[0].isdigit()
        or _is_text(word)
        or is_stop(word)
    )


def _is_text(word: str) -> bool:
    return is_text(word) and word not in _OF_OTHERS


def _ends_texts(words: Sequence[str]) -> bool:
    """Return True for an end of texts: "Stop texts", "No more SMS"."""
    ends = (
        word in NONE_OF or ((known := find_word(word)) and known.kind in _ENDS) for word in words
    )
    return any(ends) and any(map(_is_text, words))
