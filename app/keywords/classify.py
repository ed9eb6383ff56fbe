"""What a text from a phone asks of us: to stop, to start again, for help, or a yes.  Pure.

The text is folded: small letters without accents, punctuation as breaks.  Then, the first that
fits decides:

| the text | is |
|---|---|
| is a keyword, in whatever case, spelling of accents, doubled letters, spaced letters | that |
| is a keyword with courtesy around it | that; for a word such as "cancel" unsure |
| is a long keyword with one letter wrong | STOP |
| begins a sentence with a clear phrase, such as "don't text me" | STOP |
| has a clear phrase elsewhere, or in a long text, or one that asks for a moment's peace | unsure |
| is short and has a keyword in it that is not part of something ordinary | unsure |

Certain is only what cannot well be meant otherwise: an answer such as "can you stop by at 5?" must
not end what a person wants.
"""

import re
from collections.abc import Sequence

from app.keywords.intent import KeywordIntent, KeywordMatch
from app.keywords.lookup import MOST_KEYWORD_WORDS, SPACED, find_keyword
from app.keywords.normalize import fold, split_clauses, undo_look_alikes
from app.keywords.sentences import FEW_TO_CORRECT, weigh_clauses
from app.keywords.vocabulary import (
    ANYWHERE,
    DISGUISE,
    HINTS,
    KEYWORDS,
    SIGNATURES,
    UNSPACED,
    UNSPACED_NEGATION,
)

_NONE = KeywordMatch(KeywordIntent.NONE)
# Of a longer text its beginning and its end are read.
_MOST_CHARACTERS, _AT_END = 400, 120
_SHORT_UNSPACED = 30
_MOST_SIGNED, _MOST_NAMES = 9, 3
# A phone's answer to a text of ours that it quotes: not the person's own words.
_REACTION = re.compile(
    r"\s*(?:\S+ )?(?:liked|loved|disliked|laughed at|emphasi[sz]ed|questioned|reacted \S+ to"
    r"|removed an? \S+ from|gillade|älskade|gefällt|mag|hat|aimé|le gusta|a aimé|ha messo)"
    r"[^\n“”\"«„]{0,40}[“”\"«„]",
    re.IGNORECASE,
)
_QUOTES = re.compile('[“”"«„]')
_WROTE = re.compile(r"(?:wrote|skrev|schrieb|a écrit|escribió|ha scritto|schreef):\s*$", re.I)
_ADDED = re.compile(
    r"\s*(?:sent (?:from|via)|get outlook|skickat från|gesendet (?:von|mit)|von meinem"
    r"|envoyé (?:de|depuis)|enviado (?:desde|do)|inviato da|verzonden vanaf|sendt fra|lähetetty"
    r"|wysłane z|отправлено с|--|>)",
    re.IGNORECASE,
)


def classify_keyword(text: str) -> KeywordMatch:
    """What a text asks for.

    >>> classify_keyword("Please STOP!!").intent, classify_keyword("Kan ni sluta skicka sms?")
    (<KeywordIntent.STOP: 'stop'>, KeywordMatch(intent=<KeywordIntent.STOP: 'stop'>, language='sv'))
    >>> classify_keyword("Can you stop by at 5?").intent
    <KeywordIntent.NONE: 'none'>
    """
    if _QUOTES.search(text) and _REACTION.match(text):
        return _NONE
    if len(text) > _MOST_CHARACTERS:
        text = f"{text[: _MOST_CHARACTERS - _AT_END]}\n{text[-_AT_END:]}"
    if "\n" in text.strip():
        text = _leave_out_quotes(text)
    folded = fold(text)
    clauses = split_clauses(folded)
    words = [word for clause in clauses for word in clause]
    if not words or (len(words) > FEW_TO_CORRECT and _is_plain(folded, words)):
        return _NONE
    return (
        find_keyword(words)
        or _find_disguised(folded, words)
        or _find_signed(text, words)
        or _find_anywhere(folded)
        or weigh_clauses(text, clauses, words)
        or _NONE
    )


def _is_plain(folded: str, words: Sequence[str]) -> bool:
    """Whether no word of a text is one that any wish has."""
    if not HINTS.isdisjoint(words) or len([word for word in words if len(word) == 1]) >= SPACED:
        return False
    return folded.isascii() or not UNSPACED.search(folded)


def _find_disguised(folded: str, words: Sequence[str]) -> KeywordMatch | None:
    """A keyword of stopping in letters that only look like its own."""
    if len(words) > MOST_KEYWORD_WORDS or not DISGUISE.search(folded):
        return None
    plain = undo_look_alikes(folded)
    found = find_keyword([word for clause in split_clauses(plain) for word in clause])
    return found if found and found.intent is KeywordIntent.STOP else None


def _find_signed(text: str, words: Sequence[str]) -> KeywordMatch | None:
    """A keyword on a line of its own or before a dash, and behind it no more than a name."""
    if len(words) > _MOST_SIGNED:
        return None
    first = SIGNATURES.split(text.strip(), maxsplit=1)
    if len(first) == 1:
        return None
    own = [word for clause in split_clauses(fold(first[0])) for word in clause]
    behind = [word for clause in split_clauses(fold(first[-1])) for word in clause]
    if len(behind) > _MOST_NAMES or any(word in KEYWORDS for word in behind):
        return None
    found = find_keyword(own)
    return found if found and found.intent is KeywordIntent.STOP else None


def _find_anywhere(folded: str) -> KeywordMatch | None:
    """A phrase of a script that puts no blanks between words."""
    if folded.isascii() or not UNSPACED.search(folded):
        return None
    for language, pattern in ANYWHERE:
        if pattern.search(folded):
            short = len(UNSPACED.findall(folded)) <= _SHORT_UNSPACED
            certain = short and not UNSPACED_NEGATION.search(folded)
            return KeywordMatch(
                KeywordIntent.STOP if certain else KeywordIntent.MAYBE_STOP, language
            )
    return None


def _leave_out_quotes(text: str) -> str:
    """Without the lines that quote what we wrote, or that a mail program or phone adds."""
    lines = []
    for line in text.strip().splitlines():
        if _WROTE.search(line):
            break
        if not _ADDED.match(line):
            lines.append(line)
    return "\n".join(lines)
