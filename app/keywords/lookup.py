"""Keywords among words: as they are spelt, and as people spell them.  Pure."""

from collections.abc import Iterable, Sequence

from app.keywords.intent import KeywordIntent, KeywordMatch
from app.keywords.vocabulary import (
    COLLAPSED,
    COURTESY,
    FILLERS,
    INSIDE,
    KEYWORDS,
    NEAR,
    ORDINARY_BEFORE,
    ORDINARY_BEHIND,
    UNSPACED,
    KeywordKind,
    VocabularyEntry,
    collapse,
    list_shortened,
    read_misspelt,
)

# No keyword is of more words, nor letter by letter of more.
MOST_KEYWORD_WORDS, _MOST_SPACED = 6, 24
# So many single letters may be a word that is spaced.
SPACED = 3
_SIGNS = frozenset("🛑")
_WISHES = {
    KeywordKind.STOP: KeywordIntent.STOP,
    KeywordKind.BARE: KeywordIntent.STOP,
    KeywordKind.UNSURE: KeywordIntent.MAYBE_STOP,
    KeywordKind.START: KeywordIntent.START,
    KeywordKind.HELP: KeywordIntent.HELP,
    KeywordKind.YES: KeywordIntent.YES,
    KeywordKind.NO: KeywordIntent.NO,
}


def find_keyword(words: Sequence[str]) -> KeywordMatch | None:
    """What a text asks for that is one keyword, perhaps with courtesy around it."""
    if len(words) > MOST_KEYWORD_WORDS and _is_varied(words):
        return None
    entry = _look_up(words)
    if entry is not None:
        return KeywordMatch(_WISHES[entry.kind], entry.language)
    polite = [word for word in words if word not in COURTESY]
    if len(polite) < len(words) and (entry := _look_up(polite)):
        intent = KeywordIntent.MAYBE_STOP if entry.kind is KeywordKind.BARE else _WISHES[entry.kind]
        return KeywordMatch(intent, entry.language or _find_language(words))
    for left_out in (_SIGNS, FILLERS):
        rest = [word for word in polite if word not in left_out]
        entry = _look_up(rest) if len(rest) < len(polite) else None
        if entry is not None and entry.kind is KeywordKind.STOP and not _is_ordinary(words):
            return KeywordMatch(KeywordIntent.STOP, entry.language or _find_language(words))
    return None


def _is_varied(words: Sequence[str]) -> bool:
    """Whether, courtesy aside, these are more words than any keyword is repeated or spelt in."""
    if len(words) > _MOST_SPACED:
        return True
    rest = {word for word in words if word not in COURTESY and word not in FILLERS}
    return len([word for word in rest if len(word) > 1]) > MOST_KEYWORD_WORDS


def _look_up(words: Sequence[str]) -> VocabularyEntry | None:
    """The keyword that these words are: as they stand, spelt otherwise, or several times."""
    count = len(words)
    if count == 1:
        word = words[0]
        return KEYWORDS.get(word) or _look_up_collapsed(word) or _look_up_misspelt(word)
    if not count:
        return None
    if count <= MOST_KEYWORD_WORDS:
        joined = "".join(words)
        found = KEYWORDS.get(" ".join(words)) or _look_up_collapsed(joined)
        if found is not None:
            return found
    return _look_up_repeated(words) or (_look_up_spaced(words) if count >= SPACED else None)


def _look_up_collapsed(joined: str) -> VocabularyEntry | None:
    """A keyword with blanks where it has none, or letters doubled."""
    collapsed = collapse(joined)
    return COLLAPSED.get(collapsed) if len(collapsed) >= SPACED else None


def _look_up_spaced(words: Sequence[str]) -> VocabularyEntry | None:
    """A keyword letter by letter, as in `s t o p please`."""
    if len([word for word in words if len(word) == 1]) < SPACED:
        return None
    joined, run = list[str](), ""
    for word in words:
        if len(word) == 1:
            run += word
            continue
        if run:
            joined.append(run)
        joined.append(word)
        run = ""
    if run:
        joined.append(run)
    rest = [word for word in joined if word not in COURTESY] or joined
    return _look_up(rest) if len(rest) < len(words) else None


def _look_up_repeated(words: Sequence[str]) -> VocabularyEntry | None:
    """Keywords of stopping one after another, or any one several times."""
    half = len(words) // 2
    if half > 1 and words[:half] == words[half:]:
        return _look_up(words[:half])
    first = _look_up_word(words[0])
    if first is None:
        return None
    if len(set(words)) == 1:
        return first
    entries = [_look_up_word(word) for word in words]
    kinds = {entry.kind if entry else None for entry in entries}
    if (
        not kinds <= {KeywordKind.STOP, KeywordKind.BARE, KeywordKind.UNSURE}
        or KeywordKind.STOP not in kinds
    ):
        return None
    return next((entry for entry in entries if entry and entry.kind is KeywordKind.STOP), None)


def _look_up_word(word: str) -> VocabularyEntry | None:
    return KEYWORDS.get(word) or _look_up_collapsed(word)


def _look_up_misspelt(word: str) -> VocabularyEntry | None:
    """A long keyword with one letter wrong, missing, too many, or in its neighbour's place."""
    if not word.isascii() and UNSPACED.search(word):
        return None
    for shortened in list_shortened(word):
        for keyword in NEAR.get(shortened, ()):
            if is_near(word, keyword):
                return read_misspelt(keyword)
    return None


def is_near(word: str, keyword: str) -> bool:
    """Whether one letter makes the difference.

    >>> [is_near(word, "unsubscribe") for word in ("unsubcribe", "unsubsrcibe", "subscribe")]
    [True, True, False]
    """
    start = 0
    while start < min(len(word), len(keyword)) and word[start] == keyword[start]:
        start += 1
    a, b = word[start:], keyword[start:]
    if len(a) == len(b):
        return a[1:] == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])
    return a[1:] == b if len(a) > len(b) else a == b[1:]


def _is_ordinary(words: Sequence[str]) -> bool:
    """Whether a keyword is part of a common turn: `the bus stop`, `stop by`."""
    for place, word in enumerate(words):
        if word in INSIDE:
            before = words[place - 1] if place else ""
            behind = words[place + 1] if place + 1 < len(words) else ""
            if before in ORDINARY_BEFORE or behind in ORDINARY_BEHIND:
                return True
    return False


def _find_language(words: Iterable[str]) -> str | None:
    """The language of the courtesy, where that is one language's alone."""
    return next((found for word in words if (found := COURTESY.get(word))), None)


def has_keyword(words: Sequence[str]) -> bool:
    """Whether a keyword is among few words, and is not part of something ordinary."""
    return any(word in INSIDE for word in words) and not _is_ordinary(words)
