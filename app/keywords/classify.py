"""The intent of a text from a phone.  Pure.

| the text | intent |
|---|---|
| a keyword, also with courtesy, spaced or doubled letters, or accents left out | its own |
| a keyword with one letter wrong; "please cancel", where the keyword has to be alone | MAYBE_STOP |
| a phrase such as "don't text me", without a negation ahead of it | MAYBE_STOP |
| several clauses, one of which is a keyword of stopping | MAYBE_STOP |
| our own instruction to opt out, sent back, and little else | MAYBE_STOP |
| at most 5 words, one of which is "stop" or alike, but not "bus stop" or "stop by" | MAYBE_STOP |
| anything else | NONE |

The time is linear in the length of the text.  Of a long text only the beginning and the end are
read.
"""

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import dropwhile
from typing import NamedTuple

from app.keywords.instructions import has_instruction, is_bare_instruction
from app.keywords.normalize import fold, split_clauses
from app.keywords.quotations import read_own_words
from app.keywords.vocabulary import (
    COURTESY,
    EMPHASIS,
    NEGATIONS,
    ORDINARY_AFTER,
    ORDINARY_BEFORE,
    STOP_KINDS,
    UNSPACED,
    find_keyword,
    find_misspelt,
    find_phrases,
    is_agreement,
    is_disguised,
    is_stop,
)


class KeywordIntent(StrEnum):
    """The intent of a text from a phone."""

    STOP = "stop"  # the sender wants no more texts
    MAYBE_STOP = "maybe_stop"  # suppressed too, and an operator reviews it
    START = "start"  # the sender wants texts again
    HELP = "help"  # the sender asks who we are
    YES = "yes"  # the sender confirms an opt-in
    NONE = "none"  # an ordinary text


class KeywordMatch(NamedTuple):
    """An intent, and the language of its keyword unless several languages share it."""

    intent: KeywordIntent
    language: str | None = None


# The words of a link are not the sender's.
_LINK = re.compile(r"(?:https?://|www\.)\S+|\b[\w-]+(?:\.[\w-]+)+/\S*", re.IGNORECASE)
_NONE, _MAYBE = KeywordMatch(KeywordIntent.NONE), KeywordMatch(KeywordIntent.MAYBE_STOP)
# The characters that are read of a longer text, and how many of them are at its end.
_MAX_CHARACTERS, _AT_END = 400, 120
# The words of a short text, the words ahead of a phrase in which a negation counts, and the most
# words of an instruction of ours that is sent back.
_SHORT_WORDS, _NEGATED_WORDS, _MAX_INSTRUCTION_WORDS = 5, 4, 12
# A keyword of one word and one word behind it; the fewest digits of a code right behind the
# keyword, and of one further on.
_TWO_WORDS, _CODE, _LONG_CODE = 2, 3, 5
_ALONE = {kind: KeywordIntent(kind) for kind in ("stop", "maybe_stop", "start", "help", "yes")} | {
    "stop_within": KeywordIntent.STOP,
    "stop_alone": KeywordIntent.STOP,
}
_GREETING = (EMPHASIS | frozenset(COURTESY)) - {word for word in EMPHASIS if is_agreement(word)}
_GREETING_AHEAD = _GREETING - {"it", "this", "that", "all", "everything", "everyone"}
_WITH_COURTESY = _ALONE | {"stop_alone": KeywordIntent.MAYBE_STOP}


def classify_keyword(text: str) -> KeywordMatch:
    """Return the intent of a text, and the language of its keyword where that shows.

    >>> classify_keyword("Sluta, tack!")
    KeywordMatch(intent=<KeywordIntent.STOP: 'stop'>, language='sv')
    >>> classify_keyword("Can you stop texting me?").intent.value
    'maybe_stop'
    >>> classify_keyword("Can you stop by at 5?").intent.value
    'none'
    """
    if len(text) > _MAX_CHARACTERS:
        text = f"{text[: _MAX_CHARACTERS - _AT_END]}\n{text[-_AT_END:]}"
    own = read_own_words(text)
    folded = fold(_LINK.sub(" ", own))
    clauses = split_clauses(folded)
    words = [word for clause in clauses for word in clause]
    match = _match_keyword(words)
    if match is None and (
        _may_stop(folded, clauses, words)
        or _names_sender(own, words)
        or _is_our_instruction(own, words)
    ):
        return _MAYBE
    return match or _NONE


def classify_texts(texts: Sequence[str]) -> KeywordMatch:
    """Return the intent of one message in several texts: the subject and the text of an MMS.

    Each of them may be a STOP; any other intent counts only in all of them together.
    """
    matches = [classify_keyword(text) for text in texts]
    for intent in (KeywordIntent.STOP, KeywordIntent.MAYBE_STOP):
        for match in matches:
            if match.intent is intent:
                return match
    return classify_keyword("\n".join(texts))


def _match_keyword(words: Sequence[str]) -> KeywordMatch | None:
    """Return the match of words that are a keyword, perhaps with courtesy around it."""
    if keyword := find_keyword(words):
        return KeywordMatch(_ALONE[keyword.kind], keyword.language)
    polite = [word for word in words if word not in COURTESY]
    if keyword := find_keyword(polite):
        return KeywordMatch(_WITH_COURTESY[keyword.kind], keyword.language or _find_language(words))
    rest = [word for word in polite if word not in EMPHASIS]
    keyword = find_keyword(rest)
    if keyword and keyword.kind in STOP_KINDS:
        return KeywordMatch(KeywordIntent.STOP, keyword.language or _find_language(words))
    return _MAYBE if len(rest) == 1 and find_misspelt(rest[0]) else None


def _find_language(words: Iterable[str]) -> str | None:
    """Return the language of the first courtesy that belongs to one language only."""
    return next((language for word in words if (language := COURTESY.get(word))), None)


def _may_stop(folded: str, clauses: Sequence[Sequence[str]], words: Sequence[str]) -> bool:
    return (
        any(map(_has_phrase, clauses))
        or (len(clauses) > 1 and any(map(_is_stop, clauses)))
        or (len(words) <= _SHORT_WORDS and any(map(_has_stop_word, clauses)))
        or _is_greeted(clauses)
        or is_bare_instruction(words)
        or (len(words) <= _TWO_WORDS and any(map(is_disguised, words)))
        or (not folded.isascii() and UNSPACED.search(folded) is not None)
    )


def _is_greeted(clauses: Sequence[Sequence[str]]) -> bool:
    """Return True if all but clauses of greeting and thanks may mean STOP: "Hi. Enough! Thanks"."""
    own = [word for clause in clauses if not _GREETING.issuperset(clause) for word in clause]
    bare = [word for word in own if word not in COURTESY]
    said = list(dropwhile(_GREETING_AHEAD.__contains__, bare))
    keyword = find_keyword(own) or find_keyword(bare) or find_keyword(said)
    if keyword is None:
        return len(own) == 1 and is_disguised(own[0])
    return keyword.kind == KeywordIntent.MAYBE_STOP


def _names_sender(own: str, words: Sequence[str]) -> bool:
    """Return True for a keyword with a code or a brand beside it: "RET 1234", "BAJA ACME"."""
    if not _TWO_WORDS <= len(words) <= _TWO_WORDS + 1:
        return False
    first, last = (words[-1], words[0]) if words[0].isdigit() else (words[0], words[-1])
    keyword = find_keyword([first])
    if keyword is None:
        return False
    if keyword.kind not in STOP_KINDS:
        # "cancel 4417" may be an order, "CANCEL 4417" is what other senders ask for.
        return keyword.kind in ("stop_alone", "maybe_stop") and own.isupper() and last.isdigit()
    digits = sum(map(str.isdigit, last))
    if len(words) > _TWO_WORDS:
        return digits >= _LONG_CODE
    # In small letters a number of two digits may be a time.
    if digits >= _CODE:
        return True
    return own.isupper() and last not in ORDINARY_AFTER


def _is_our_instruction(own: str, words: Sequence[str]) -> bool:
    """Return True for an instruction of ours sent back: no question about one."""
    is_asked = own.rstrip("\"'”“» ").endswith(("?", "？", "؟"))
    # Its end: "STOP to leave this list".
    said = f"reply {own}" if words[1:2] == ["to"] and is_stop(words[0]) else own
    return len(words) <= _MAX_INSTRUCTION_WORDS and not is_asked and has_instruction(said)


def _is_stop(clause: Sequence[str]) -> bool:
    match = _match_keyword(clause)
    return match is not None and match.intent is KeywordIntent.STOP


def _has_phrase(clause: Sequence[str]) -> bool:
    return any(
        NEGATIONS.isdisjoint(clause[max(0, index - _NEGATED_WORDS) : index])
        for index in find_phrases(clause)
    )


def _has_stop_word(clause: Sequence[str]) -> bool:
    """Return True if a keyword is among the words, and no ordinary neighbour is beside it."""
    return any(
        before not in ORDINARY_BEFORE and after not in ORDINARY_AFTER and _is_stop_word(word)
        for before, word, after in zip(["", *clause], clause, [*clause[1:], ""], strict=False)
    )


def _is_stop_word(word: str) -> bool:
    keyword = find_keyword([word]) or find_misspelt(word)
    return keyword is not None and keyword.kind == "stop_within"
