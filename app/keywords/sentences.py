"""What the sentences of a text ask for, where it is more than a keyword.  Pure."""

import re
from collections.abc import Sequence

from app.keywords.intent import KeywordIntent, KeywordMatch
from app.keywords.lookup import find_keyword, has_keyword, is_near
from app.keywords.vocabulary import (
    BESIDE,
    CLEAR,
    COURTESY,
    FILLERS,
    HINTS,
    LEADS,
    NEAR,
    NEGATIONS,
    UNCLEAR,
    list_shortened,
)

# In a longer text nothing is certain; in one of more than a few words a keyword alone says nothing.
_SHORT_WORDS, _FEW_WORDS = 24, 5
# Among so many words those of so many letters are looked at for a letter that is wrong.
FEW_TO_CORRECT, _LONG = 8, 8
_VERBS = frozenset(("stop", "quit", "cease", "halt", "discontinue"))
_TO_OTHERS = frozenset(
    ("you", "u", "want", "would", "like", "intent", "asking", "ask", "told", "said")
)
_MAYBE = KeywordMatch(KeywordIntent.MAYBE_STOP)
# Our own words, said back to us.
_INSTRUCTION = re.compile(
    r"\b(?:reply|text|txt|send|svara|skicka|antworte[nt]?|sende[nt]?|répondez|envoyez|responda"
    r"|envíe|rispondi|svar)(?: (?:with|med|sie|mit|con|à))? [\"“'*]?(?:stop|stopp|arret)[\"”'*]? "
    r"(?:to|för|for|um|pour|para|per|if|and|om|2)\b",
    re.IGNORECASE,
)


def weigh_clauses(
    text: str, clauses: Sequence[Sequence[str]], words: Sequence[str]
) -> KeywordMatch | None:
    """What a text of several sentences, or of more than a keyword, asks for."""
    if ("stop" in words or "stopp" in words or "arret" in words) and _INSTRUCTION.search(text):
        return _MAYBE if len(words) <= _SHORT_WORDS else None
    unsure: KeywordMatch | None = None
    stop: KeywordMatch | None = None
    others = False
    long = len(words) > FEW_TO_CORRECT
    for clause in clauses:
        if long and HINTS.isdisjoint(clause):
            others = others or not all(map(_leads, clause))
            continue
        alone = find_keyword(clause) if len(clauses) > 1 else None
        found = alone or _read_clause(clause)
        if found is None:
            others = True
        elif alone is not None and alone.intent is KeywordIntent.STOP:
            stop = alone
        elif found.intent is KeywordIntent.STOP:
            if len(words) <= _SHORT_WORDS:
                return found
            unsure = found._replace(intent=KeywordIntent.MAYBE_STOP)
        elif found.intent is KeywordIntent.MAYBE_STOP:
            unsure = found
    if stop is not None:
        # A keyword alone is certain where all else only supports it.
        return stop._replace(intent=KeywordIntent.MAYBE_STOP) if others else stop
    if unsure is not None:
        return unsure
    return _MAYBE if len(words) <= _FEW_WORDS and has_keyword(words) else None


def _read_clause(clause: Sequence[str]) -> KeywordMatch | None:
    """What one sentence or part of one says by a phrase; None for anything ordinary."""
    if all(word in COURTESY or word in FILLERS for word in clause):
        return KeywordMatch(KeywordIntent.NO)
    found = _find_phrase(clause)
    if found is None and len(clause) <= FEW_TO_CORRECT:
        correct = [_correct_word(word) for word in clause]
        return _find_phrase(correct) if correct != clause else None
    return found


def _correct_word(word: str) -> str:
    if len(word) < _LONG or word in CLEAR:
        return word
    for shortened in list_shortened(word):
        for keyword in NEAR.get(shortened, ()):
            if keyword in CLEAR and is_near(word, keyword):
                return keyword
    return word


def _find_phrase(clause: Sequence[str]) -> KeywordMatch | None:
    line = " ".join(clause)
    start = _skip_leads(clause)
    for place, word in enumerate(clause):
        for language, pattern, breaks in CLEAR.get(word, ()):
            match = pattern.match(line, _offset(clause, place))
            if match is None:
                continue
            if not NEGATIONS.isdisjoint(clause[max(0, place - 4) : place]):
                return None
            momentary = not breaks.isdisjoint(line[match.end() :].split())
            resolved = word in _VERBS and _is_about_oneself(clause[:place])
            certain = place <= start and not momentary and not resolved
            return KeywordMatch(
                KeywordIntent.STOP if certain else KeywordIntent.MAYBE_STOP, language
            )
    return _find_plain(clause, line, start)


def _find_plain(clause: Sequence[str], line: str, start: int) -> KeywordMatch | None:
    """What a phrase that is never certain says, at the beginning or behind what leads to it."""
    for phrases, intent in ((UNCLEAR, KeywordIntent.MAYBE_STOP), (BESIDE, KeywordIntent.NO)):
        for place in range(start + 1):
            for language, pattern in phrases.get(clause[place], ()):
                if pattern.match(line, _offset(clause, place)):
                    return KeywordMatch(intent, language)
    return None


def _is_about_oneself(leads: Sequence[str]) -> bool:
    """Whether what leads to a wish makes it a resolution: `I should …`."""
    return "i" in leads and _TO_OTHERS.isdisjoint(leads)


def _offset(clause: Sequence[str], place: int) -> int:
    """Where a word begins in the clause written as one line."""
    return sum(map(len, clause[:place])) + place


def _skip_leads(clause: Sequence[str]) -> int:
    """How many words only lead to what is asked: `hello, could you please …`."""
    place = 0
    while place < len(clause) - 1 and _leads(clause[place]):
        place += 1
    return place


def _leads(word: str) -> bool:
    return word in LEADS or word in COURTESY or word in FILLERS
