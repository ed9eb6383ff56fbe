"""Instructions to opt out, such as "Reply STOP to unsubscribe": those of our texts.  Pure.

An instruction names what to reply, and where that is not plain, to which number:

    a verb and a keyword      "Text STOP", "Svara med STOPP", "STOP antworten", "回复TD"
    a keyword and a number    "STOP to 12345", "STOP au 36111"
    a keyword and its purpose "STOP to opt out", "Opt-out: STOP"
    a link or a number        "Unsubscribe: acme.example/out" (links.py)

A keyword alone is none: "END OF SEASON SALE", "CANCEL anytime", "STOP waiting".  Nor is one for
other things than texts: "Reply STOP to stop smoking".
"""

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from app.keywords.links import goes_on_about_texts, names_link, says_out, says_out_next
from app.keywords.normalize import WORD_CHARACTERS, fold, split_words
from app.keywords.vocabulary import (
    BETWEEN,
    COURTESY,
    EMPHASIS,
    LANGUAGES,
    NEGATIONS,
    NONE_OF,
    ORDINARY_AFTER,
    ORDINARY_BEFORE,
    PURPOSES,
    REPLY_VERBS,
    REPLY_VERBS_AFTER,
    STOP_KINDS,
    UNSPACED_INSTRUCTION,
    find_word,
    is_stop,
)

_WORD = f"(?:(?!_)[{WORD_CHARACTERS}])+"
_TOKEN = re.compile(rf"{_WORD}(?:['’-]{_WORD})*|[^\s{WORD_CHARACTERS}]|\n")
_SENTENCE_END = re.compile(r"(?<=[.!?。！？…])[\s”»\"]+|\n+|(?<=[。！？])")
# The digits of a short code: fewer are a time or an amount, unless more words say otherwise.
_SHORTEST_CODE, _SHORTEST_NUMBER, _NEXT_WORD = 5, 4, 20
_QUOTES = frozenset("\"'“”„‘’«»‹›「」『』*()[]<>:")
# Keywords of a text that are looked at; a text of nothing else would take a sixth of a second.
_MOST_KEYWORDS = 20
_FOR, _AGREED = ("to", "for"), ("ok", "okay")
# What the keyword of an abbreviated instruction is for.
_PURPOSE = re.compile(
    r"(?:[ ]?[=>:→-]+[ ]?|[ ]?(?:2|to|for)[ ]?)"
    r"(?:unsub(?:scribe)?|opt[ -]?out|end|quit|cancel|stop)\b(?![ -](?!help|info)\w)",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\+?[0-9]{5,}")
_SPACED_NUMBER, _CLAUSE_END = (
    re.compile(r"(?:[0-9][ ()/-]{0,2}){4,}"),
    re.compile(r"[.!?,;。！？，\n]"),
)
_NOTHING_MORE = re.compile(r"[ ]*(?:[^ \w%]|\Z)")
# In one word: "STOP2END", "STOP36111".
_GLUED = re.compile(
    r"\bstop(?:(?:2|to)(?:end|quit|unsub|cancel|opt)|(?:sms)?[0-9]{5}\b)", re.IGNORECASE
)


class _Token(NamedTuple):
    text: str
    folded: str
    start: int
    end: int


def has_instruction(text: str) -> bool:
    """Return True if a text says how to opt out.

    >>> has_instruction("20% off! Txt STOP to end"), has_instruction("Abmelden: STOP antworten")
    (True, True)
    >>> has_instruction("END OF SEASON SALE"), has_instruction("Non-stop fun, no stop at all")
    (False, False)
    """
    if any(_find_instructions(text)) or names_link(text) or _GLUED.search(text):
        return True
    return not text.isascii() and UNSPACED_INSTRUCTION.search(fold(text)) is not None


def names_other_way(text: str) -> bool:
    """Return True if a text says how to opt out without a reply: by a link, or at a number.

    >>> names_other_way("Reply STOP to end"), names_other_way("Text STOP to 12345")
    (False, True)
    """
    clauses = _CLAUSE_END.split(text)
    return names_link(text) or any(
        _SPACED_NUMBER.search(clause) and has_instruction(clause) for clause in clauses
    )


def is_bare_instruction(words: Sequence[str]) -> bool:
    """Return True if these words are an instruction to opt out, or its end, and nothing else."""
    keywords = {word for word in words if is_stop(word)}
    numbers = [word for word in words if word.isdigit() and len(word) >= _SHORTEST_NUMBER]
    words = [word for word in words if word not in COURTESY and word not in _AGREED]
    others = [word for word in words if word not in keywords and word not in numbers]
    if not others or not keywords:
        return False
    is_to_code = any(len(number) >= _SHORTEST_CODE for number in numbers)
    # "STOP to", "STOPP för": an instruction that is cut, since nothing follows.
    is_cut = is_stop(words[0]) and words[-1] in PURPOSES
    says_something = len(keywords) > 1 or is_to_code or is_cut or any(map(_says_something, others))
    return bool(says_something) and any(known.issuperset(others) for known in _INSTRUCTION_WORDS)


def drop_instructions(text: str) -> str:
    """Return a text without the sentences that say how to opt out, unless it is little else.

    >>> drop_instructions("20% off today. Reply STOP to end"), drop_instructions("Reply STOP")
    ('20% off today.', 'Reply STOP')
    """
    if not has_instruction(text):
        return text
    sentences = [sentence for sentence in _SENTENCE_END.split(text) if sentence.strip()]
    own = "\n".join(sentence for sentence in sentences if not has_instruction(sentence))
    is_more = any(word not in _BESIDE for word in split_words(own))
    return own if is_more else text


def _says_something(word: str) -> bool:
    """Return True unless a word is only a preposition, which ordinary texts have beside "stop"."""
    return len(word) > 2 and word not in ORDINARY_BEFORE and word not in ORDINARY_AFTER


def _find_instructions(text: str) -> Iterator[bool]:
    """Yield for each keyword of a text whether it is part of an instruction."""
    tokens = [_Token(match[0], _fold(match[0]), *match.span()) for match in _TOKEN.finditer(text)]
    kinds = ((place, _find_kind(token)) for place, token in enumerate(tokens))
    for place, kind in islice(((place, kind) for place, kind in kinds if kind), _MOST_KEYWORDS):
        yield _is_instruction(text, tokens, place, strong=kind in STOP_KINDS)


def _fold(word: str) -> str:
    return word.lower() if word.isascii() else fold(word)


def _find_kind(token: _Token) -> str | None:
    """Return the kind of a keyword of stopping: in capitals, but for "stop" and alike."""
    keyword = find_word(token.folded.replace("-", ""))
    if keyword is None or keyword.kind not in (*STOP_KINDS, "stop_alone", "maybe_stop"):
        return None
    # Many scripts have no capitals.
    is_set_off = token.text == token.text.upper()
    return keyword.kind if keyword.kind == "stop_within" or is_set_off else None


def _is_instruction(text: str, tokens: Sequence[_Token], place: int, *, strong: bool) -> bool:
    """Return True if a verb, a number or a purpose belongs to the keyword at this place."""
    keyword, before = tokens[place], _skip(tokens[max(0, place - 6) : place][::-1], is_ahead=True)
    behind = [token for token in tokens[place + 1 : place + 7] if token.text not in _QUOTES]
    is_asked_for = _is_asked_for(tokens[:place], before)
    if is_asked_for and _ends(text[keyword.end :], behind, strong=strong):
        return True
    rest = _skip(behind)
    if rest and rest[0].text.isdigit():
        rest = _skip(rest[1:])
    if rest and rest[0].folded in REPLY_VERBS_AFTER and goes_on_about_texts(text[rest[0].end :]):
        return True
    return strong and _says_what_for(text, tokens, place)


def _says_what_for(text: str, tokens: Sequence[_Token], place: int) -> bool:
    """Return True if a number or a purpose belongs to a keyword that means STOP in any text."""
    keyword, last = tokens[place], tokens[place - 1] if place else None
    if last and last.folded in ORDINARY_BEFORE and not keyword.text.isupper():
        return False
    next_words = [token for token in tokens[place + 1 : place + 7] if token.text not in _QUOTES]
    rest, behind = _skip(next_words), text[keyword.end :]
    is_set_off = keyword.text == keyword.text.upper()
    if is_set_off and rest and _NUMBER.fullmatch(rest[0].text):
        following = text[rest[0].end :]
        # "STOP 36111" with nothing behind it, as France writes it.
        if len(rest) == len(next_words):
            return _NOTHING_MORE.match(following) is not None
        is_for = _GOES_ON.intersection(split_words(following[:_NEXT_WORD])[:1])
        return not is_for or goes_on_about_texts(following)
    if _PURPOSE.match(behind) or (behind[:1].isspace() and says_out_next(behind)):
        return True
    if last is None or not says_out(text[: keyword.start]):
        return False
    if rest and rest[0].text.isdigit():
        return True
    return not rest if last.text == "?" else _ends(behind, next_words, strong=True)


def _is_asked_for(ahead: Sequence[_Token], before: Sequence[_Token]) -> bool:
    """Return True for a verb such as "reply" ahead of a keyword: not "Don't text STOP"."""
    # "Reply to STOP the clock" names nothing to reply.
    if not before or before[0].folded not in REPLY_VERBS or ahead[-1].folded == "to":
        return False
    # Nor do "before you reply STOP" and "no need to reply STOP" ask for one.
    ahead_of_verb = [token.folded.replace("'", "") for token in before[1:5]]
    if ahead_of_verb[:1] == ["to"]:
        return NEGATIONS.isdisjoint(ahead_of_verb) and NONE_OF.isdisjoint(ahead_of_verb)
    return ahead_of_verb[:1] != ["you"] and NEGATIONS.isdisjoint(ahead_of_verb[:1])


def _ends(text: str, behind: Sequence[_Token], *, strong: bool) -> bool:
    """Return True if a sentence may end here, or goes on to say what the keyword is for.

    Of a keyword that has to be alone, "to" does not say that: "Reply LEAVE to request leave".
    """
    if len(behind) > 1 and behind[0].text == "," and behind[1].folded in PURPOSES:
        text, behind = text.replace(",", "", 1), behind[1:]
    if not behind or not behind[0].text[0].isalpha():
        return not behind or behind[0].text not in "?+"
    said = behind[0].folded
    if said == "for" and len(behind) > 1 and behind[1].folded in _ABOUT_OFFER:
        return False
    if not strong and said in _FOR and len(behind) > 1:
        is_for = behind[1].text.isdigit() or behind[1].folded in PURPOSES
    else:
        is_for = said in BETWEEN or said in PURPOSES
    return is_for and goes_on_about_texts(text)


def _skip(tokens: Sequence[_Token], *, is_ahead: bool = False) -> Sequence[_Token]:
    """Return the tokens without quotation marks and small words ahead of them, at most three."""
    kept = [token for token in tokens if token.text not in _QUOTES]
    for place, token in enumerate(kept[:4]):
        if token.folded not in BETWEEN or (token.folded in REPLY_VERBS and is_ahead):
            return kept[place:]
    return []


def _read_instruction_words() -> list[frozenset[str]]:
    names = ("reply_verbs", "reply_verbs_after", "purposes", "courtesy")
    return [
        frozenset(word for name in names for word in split_words(language[name]))
        for language in LANGUAGES.values()
    ]


_GOES_ON = PURPOSES.union(split_words("and und et y e och og en i a es si ve ja и"))
_ABOUT_OFFER = ("more", "info", "details")
# What an instruction of one language is made of, beside its keyword.
_INSTRUCTION_WORDS = _read_instruction_words()
# Words beside an instruction that belong to it: "HELP for help. Msg & data rates may apply."
_BESIDE = (EMPHASIS | frozenset(COURTESY) | PURPOSES | REPLY_VERBS | BETWEEN).union(
    split_words("help info msg msgs message data std standard rates rate may apply terms t c sms")
)
