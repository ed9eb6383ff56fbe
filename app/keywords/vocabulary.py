"""Keywords and phrases of every language, as tables for look-up by normalized words.

languages/*.toml has a table per language; that of the words of all languages is `any`.

    stop_within     keywords that mean STOP, also with courtesy; in a short text, MAYBE_STOP
    stop            keywords that mean STOP, also with courtesy
    stop_alone      keywords that mean STOP as the whole text, and MAYBE_STOP with courtesy
    maybe_stop, start, help, yes    keywords of the other intents
    courtesy        words that change nothing beside a keyword
    courtesy_ahead, courtesy_behind    the same without a blank, of scripts that have none
    emphasis        words that change nothing beside a keyword of `stop`
    negations       words that turn a phrase behind them round
    ordinary_before, ordinary_after    words beside which a keyword is part of something else
    phrases, parts  what means MAYBE_STOP wherever it occurs
    anywhere        the same as regular expressions, for scripts without blanks between words
    reply_verbs, reply_verbs_after    "reply", "text": ahead of a keyword or behind it
    between         "with the word": between a verb and its keyword, or a keyword and a number
    purposes        "to unsubscribe": what a keyword is for
    instructions    the same as regular expressions
    out             "unsubscribe", "opt out", as regular expressions
    beside_out      words beside those, of a sentence about texts: "here", "newsletter"
    none_of         "no": with "texts", they are to end
    reactions, reaction_words    "liked", "removed", and what is beside them in a phone's reaction
    reacts          the same as regular expressions

Keywords are separated by commas.  Phrases have a line each: `a|b` is either word, `a_b` two words
in a row, `a?` may be left out, `a*` may be there any number of times, `a~` is any word that begins
so, `...` up to three words of any kind, `$` the end of the clause, and `<name>` the part of that
name.  A phrase begins with whole words.
"""

import re
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from app.keywords.normalize import fold, split_lines, split_words

_FILES = Path(__file__).parent / "languages"
_PART = re.compile("<([a-z]+)>")
_DOUBLED = re.compile(r"(.)(?=\1)")
# Shorter keywords differ from ordinary words by one letter.
_MISSPELT_FROM, _MISSPELT_TO = 6, 24
_SHORTEST_DISGUISE = 4
_DIGITS = "0123456789"
_DIGITS_FOR_LETTERS = str.maketrans("013457", "oieast")
# A keyword may be several: the first kind counts.
STOP_KINDS = ("stop_within", "stop")
KINDS = (*STOP_KINDS, "stop_alone", "start", "help", "maybe_stop", "yes")


class Keyword(NamedTuple):
    """A keyword's kind, one of KINDS, and its language unless several share it."""

    kind: str
    language: str | None


def find_keyword(words: Sequence[str]) -> Keyword | None:
    """Return the keyword that these words are: joined, apart, repeated or with doubled letters."""
    return _KEYWORDS.get(_join(words)) or _COLLAPSED.get(_collapse(words))


def find_word(word: str) -> Keyword | None:
    """Return the keyword that is written as this word."""
    return _KEYWORDS.get(word)


def find_misspelt(word: str) -> Keyword | None:
    """Return the long keyword of stopping that a word is with one letter wrong.

    >>> [bool(find_misspelt(word)) for word in ("unsubcribe", "unsubsrcibe", "subscribe")]
    [True, True, False]
    """
    if not _MISSPELT_FROM - 1 <= len(word) <= _MISSPELT_TO:
        return None
    return next((_MISSPELT[part] for part in _leave_out_letters(word) if part in _MISSPELT), None)


def is_disguised(word: str) -> bool:
    """Return True for a keyword of stopping with digits for letters, repeated, or in one word.

    >>> [is_disguised(word) for word in ("5t0p", "stopstop", "textstop", "stop2", "nonstop")]
    [True, True, True, True, False]
    """
    if not word.isascii() and _is_glued(word):
        return True
    if not _SHORTEST_DISGUISE <= len(word) <= _MISSPELT_TO:
        return False
    sizes = range(_SHORTEST_DISGUISE, len(word) // 2 + 1)
    if any(is_stop(word[:size]) and _repeats(word, size) for size in sizes):
        return True
    plain, bare = word.translate(_DIGITS_FOR_LETTERS), word.strip(_DIGITS)
    if (plain != word and is_stop(plain)) or (bare != word and is_stop(bare)):
        return True
    halves = ((word[:cut], word[cut:]) for cut in range(2, len(word) - 1))
    return any(
        (left in _GLUED_AHEAD and len(right) > 3 and is_stop(right))
        or (right in _GLUED_BEHIND and len(left) > 3 and is_stop(left))
        for left, right in halves
    )


def _is_glued(word: str) -> bool:
    """Return True for a keyword of stopping with courtesy right beside it: "停止希望です"."""
    bare, shorter = word, _UNSPACED_AHEAD.sub("", word)
    if shorter == word:
        shorter = _UNSPACED_BEHIND.sub("", word)
    while bare != shorter:
        bare = shorter
        keyword = _KEYWORDS.get(bare)
        if keyword and keyword.kind in ("stop_alone", "maybe_stop", *STOP_KINDS):
            return True
        shorter = _UNSPACED_BEHIND.sub("", bare)
    return False


def _repeats(word: str, size: int) -> bool:
    return word == word[:size] * (len(word) // size)


def find_phrases(words: Sequence[str]) -> Iterator[int]:
    """Yield the index of each word of a clause at which a phrase begins."""
    line, offset = " ".join(words) + " ", 0
    for index, word in enumerate(words):
        if word in _PHRASES and _compile_phrases(word).match(line, offset):
            yield index
        offset += len(word) + 1


def is_stop(word: str) -> bool:
    """Return True for a word that means STOP without a change."""
    keyword = _KEYWORDS.get(word)
    return keyword is not None and keyword.kind in STOP_KINDS


def is_text(word: str) -> bool:
    """Return True for a word such as "texts", "SMS" or "advertising"."""
    return _TEXTS.fullmatch(f"{word} ") is not None


def is_agreement(word: str) -> bool:
    """Return True for a word that says yes."""
    keyword = _KEYWORDS.get(word)
    return keyword is not None and keyword.kind == "yes"


def _join(words: Sequence[str]) -> str:
    """Return the words without blanks, each once."""
    return "".join(dict.fromkeys(words))


def _collapse(words: Sequence[str]) -> str:
    """Return the words without blanks, and each letter once where it is doubled."""
    return _DOUBLED.sub("", _join(words))


def _leave_out_letters(word: str) -> list[str]:
    """Return the word, and the word without each of its letters."""
    return [word, *(word[:index] + word[index + 1 :] for index in range(len(word)))]


def _read_languages() -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path in _FILES.glob("*.toml"):
        for code, table in tomllib.loads(path.read_text("utf-8")).items():
            yield "" if code == "any" else code, defaultdict(str, table)


def _list_keywords() -> Iterator[tuple[Keyword, list[str]]]:
    """Yield each keyword with its words."""
    for kind in KINDS:
        for code, language in LANGUAGES.items():
            lines = language[kind].replace("\n", " ").replace(",", "\n")
            for words in filter(None, split_lines(lines)):
                yield Keyword(kind, code or None), words


def _read_keywords(make_key: Callable[[Sequence[str]], str]) -> dict[str, Keyword]:
    keywords: dict[str, Keyword] = {}
    for keyword, words in _WORDS:
        known = keywords.setdefault(make_key(words), keyword)
        if known.kind == keyword.kind and known.language != keyword.language:
            keywords[make_key(words)] = Keyword(known.kind, None)
    return keywords


def _read_misspelt() -> dict[str, Keyword]:
    misspelt: dict[str, Keyword] = {}
    for keyword, words in _WORDS:
        if keyword.kind in STOP_KINDS and len(words) == 1 and len(words[0]) >= _MISSPELT_FROM:
            for part in _leave_out_letters(words[0]):
                misspelt.setdefault(part, keyword)
    return misspelt


def _read_courtesy() -> dict[str, str | None]:
    courtesy: dict[str, str | None] = {}
    for code, language in LANGUAGES.items():
        for word in split_words(language["courtesy"]):
            courtesy[word] = code if word not in courtesy else None
    return courtesy


def _read_words(name: str) -> frozenset[str]:
    return frozenset(word for lang in LANGUAGES.values() for word in split_words(lang[name]))


def _join_patterns(name: str) -> str:
    return "|".join(fold(each) for language in LANGUAGES.values() for each in language[name])


def _read_phrases() -> Mapping[str, Sequence[str]]:
    """Return regular expressions by the word they begin with."""
    phrases = defaultdict[str, list[str]](list)
    for language in LANGUAGES.values():
        for phrase in _fill_parts(language["phrases"], language["parts"]).splitlines():
            heads, *rest = phrase.split()
            for head in heads.split("|"):
                phrases[head].append(f"{head} {''.join(map(_make_pattern, rest))}")
    return phrases


def _fill_parts(phrase: str, parts: Mapping[str, str]) -> str:
    # Folding makes a blank of `_`.
    return fold(_PART.sub(lambda match: parts[match[1]], phrase).replace("_", "+"))


def _make_pattern(choice: str) -> str:
    """Return the regular expression of one choice of words, each with a blank behind it."""
    if choice == "...":
        return r"(?:\S+ ){0,3}"
    often = choice[-1] if choice[-1] in "?*" else ""
    choices = choice.removesuffix(often).replace("~", r"\S*").replace("+", " ").split("|")
    either = "|".join(words if words == "$" else f"{words} " for words in choices)
    return f"(?:{either}){often}"


@cache
def _compile_phrases(head: str) -> re.Pattern[str]:
    return re.compile("|".join(_PHRASES[head]))


LANGUAGES = dict(sorted(_read_languages()))
_WORDS = list(_list_keywords())
_KEYWORDS = _read_keywords(_join)
# Two letters are too few for one of them to be doubled.
_COLLAPSED = {key: found for key, found in _read_keywords(_collapse).items() if len(key) > 2}
COURTESY: Mapping[str, str | None] = _read_courtesy()
EMPHASIS = _read_words("emphasis")
NEGATIONS = _read_words("negations")
ORDINARY_BEFORE = _read_words("ordinary_before")
ORDINARY_AFTER = _read_words("ordinary_after")
_MISSPELT = _read_misspelt()
_PHRASES = _read_phrases()
# The phrases of scripts without blanks between words.
UNSPACED = re.compile(_join_patterns("anywhere"))
UNSPACED_INSTRUCTION = re.compile(_join_patterns("instructions"))
UNSPACED_REACTION = re.compile(_join_patterns("reacts"))
REPLY_VERBS = _read_words("reply_verbs")
REPLY_VERBS_AFTER = _read_words("reply_verbs_after")
PURPOSES = _read_words("purposes")
BETWEEN = _read_words("between")
OUT = re.compile(rf"\b(?:{_join_patterns('out')})(?=\s|$)")
NONE_OF = _read_words("none_of")
_TEXTS = re.compile(
    "|".join(
        _make_pattern(_fill_parts("<texts>", language["parts"]))
        for language in LANGUAGES.values()
        if "texts" in language["parts"]
    )
)
BESIDE_OUT = frozenset(COURTESY).union(
    _read_words("beside_out"), PURPOSES, BETWEEN, REPLY_VERBS, REPLY_VERBS_AFTER
)
REACTIONS = _read_words("reactions")
REACTION_WORDS = _read_words("reaction_words") | REACTIONS
_UNSPACED_AHEAD = re.compile(f"^(?:{'|'.join(_read_words('courtesy_ahead'))})")
_UNSPACED_BEHIND = re.compile(f"(?:{'|'.join(_read_words('courtesy_behind'))})$")
_GLUED_AHEAD = REPLY_VERBS | frozenset(split_words("please pls plz just"))
_GLUED_BEHIND = frozenset(
    split_words(
        "please pls plz now asap thanks thx it this that all already forever 4ever 4good texting"
        " texts text msgs msg messages spam spamming sms ads promo promos marketing me us"
    )
)
