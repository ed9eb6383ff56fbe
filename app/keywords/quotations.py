"""The words that are the sender's own: no reaction, quotation, signature or copy of our text.

Phones write a reaction as a text that quotes ours: "Liked “…”", "Gefällt „…“", "“…”に「いいね」".
Google Messages writes hair spaces inside its quotation marks.  Pure.
"""

import re
from typing import NamedTuple

from app.keywords.instructions import drop_instructions, has_instruction
from app.keywords.normalize import fold, split_words
from app.keywords.vocabulary import REACTION_WORDS, REACTIONS, UNSPACED_REACTION

_MARKS = '“”„‟"«»‹›「」『』〝〟＂《》〈〉'
# Within a Hebrew word that of abbreviations is none.
_MARK = re.compile(rf"[{_MARKS}]|(?<!\w)״")
_LAST_MARK = re.compile(rf"(?:[{_MARKS}]|״(?!\w))(?=[^{_MARKS}]*\Z)")
_SINGLE_MARK = re.compile(r"(?:^|(?<=\s))['‘‚](?=\S|\u200a)")
# Korean writes its particles right behind the mark.
_LAST_SINGLE = re.compile(r"['’‘](?![^\W가-힣])(?=[^'’‘]*\Z)")
_EMOJI = re.compile("[\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff❤]")
_MAX_REACTION_WORDS = 9
# Phones shorten a long text that they quote.
_SHORTENED = re.compile(r".{30,}(?:…|\.\.\.)\s*", re.DOTALL)
_MAX_HEAD = 60
# A quoted "START please" may be the sender's own.
_LONGEST_REQUEST = 20
# What Google Messages writes between a quotation mark and the text.
_GOOGLE = "\u200a"
# Behind these lines comes the text of another person, also without a mark on each line.
_HEADER = re.compile(
    r"^.*(?:wrote|skrev|schrieb|a écrit|escribió|escreveu|ha scritto|schreef|kirjoitti"
    r"|napisał(?:a|\(a\))?"
    r"|napsal(?:a|\(a\))?|написал(?:а|\(а\))?|írta|a scris|έγραψε|yazdı)[ ]?:[ \t]*$"
    r"|^[ \t]*(?:-{3,}|_{5,}).*$"
    r"|^[ \t]*(?:begin forwarded message|forwarded message|vidarebefordrat meddelande)\b.*$",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"^[ \t]*[>＞|](?!.*[<＜|][ \t]*$)")
# Lines that a phone or a mail program adds.
_SIGNATURE = re.compile(
    r"^[ \t]*(?:sent (?:from|via)|get outlook|skickat från|gesendet (?:von|mit)|von meinem"
    r"|envoyé (?:de|depuis)|enviado (?:desde|do)|inviato da|verzonden vanaf|sendt fra|lähetetty"
    r"|wysłane z|отправлено с|--)",
    re.IGNORECASE,
)
# Such a line behind the words of another.
_SIGNED = re.compile(
    r"(?<=[^\s>-])[ \t]+(?:[-–—|][ \t]*)?(?:sent from my|skickat från min|gesendet von mein\w*"
    r"|von meinem|envoyé de(?:puis)? mon|enviado desde mi|enviado do meu|inviato dal? mio"
    r"|verzonden vanaf mijn|sendt fra min)[ ].{1,60}$",
    re.IGNORECASE | re.MULTILINE,
)


class _Quotation(NamedTuple):
    """A quotation with what is ahead of it and behind it."""

    ahead: str
    inside: str
    behind: str

    @property
    def outside(self) -> str:
        """The text around the quotation."""
        return f"{self.ahead}\n{self.behind}".strip()


def read_own_words(text: str) -> str:
    """Return the sender's own words: the empty text for a reaction.

    >>> read_own_words("Liked “Sale! Reply STOP to end”"), read_own_words("> Sale today\\n\\nSTOP")
    ('', 'STOP')
    """
    quotation = _find_quotation(text)
    if quotation and _is_reaction(quotation, text):
        return ""
    if quotation and _has_more(quotation.outside) and _is_of_ours(quotation.inside):
        return quotation.outside
    if "\n" in text or _QUOTED.match(text):
        text = _drop_quoted_lines(text)
    text = _SIGNED.sub("", text)
    return drop_instructions(text)


def _find_quotation(text: str) -> _Quotation | None:
    """Return the quotation from the first quotation mark to the last, or what a colon announces."""
    double, single = _MARK.search(text), _SINGLE_MARK.search(text)
    found = single if single and (not double or single.start() < double.start()) else double
    if found is None:
        head, colon, rest = text.partition(":")
        words = split_words(head) if colon and len(head) < _MAX_HEAD else []
        if REACTIONS.isdisjoint(words):
            return None
        inside, _, last_line = rest.rpartition("\n")
        is_own = has_instruction(inside) and not has_instruction(last_line)
        return _Quotation(head, inside, last_line) if is_own else _Quotation(head, rest, "")
    last = (_LAST_SINGLE if found is single else _LAST_MARK).search(text, found.end())
    ahead, rest = text[: found.start()], text[found.end() :]
    if last is None:
        return _Quotation(ahead, rest, "")
    return _Quotation(ahead, text[found.end() : last.start()], text[last.end() :])


def _is_reaction(quotation: _Quotation, text: str) -> bool:
    """Return True if a text is what a phone makes of a reaction to another text."""
    words = split_words(quotation.outside)
    if len(words) > _MAX_REACTION_WORDS:
        return False
    if words and all(word in REACTION_WORDS or _EMOJI.match(word) for word in words):
        has_emoji = _EMOJI.search(quotation.outside) is not None
        if has_emoji or not REACTIONS.isdisjoint(words):
            return True
    return quotation.inside.startswith(_GOOGLE) or _reacts_unspaced(quotation.ahead, text)


def _has_more(outside: str) -> bool:
    """Return True if a word or an emoji is around a quotation."""
    return bool(split_words(outside) or _EMOJI.search(outside))


def _is_of_ours(inside: str) -> bool:
    """Return True if a quotation names a way out or back in, or is too long for phones to quote."""
    names_start = "START" in inside and len(inside) > _LONGEST_REQUEST
    return names_start or has_instruction(inside) or _SHORTENED.fullmatch(inside) is not None


def _reacts_unspaced(ahead: str, text: str) -> bool:
    """Return True for a reaction in a script without blanks between words."""
    if text.isascii():
        return False
    return UNSPACED_REACTION.search(f"{fold(ahead[-40:])}|{fold(text[-40:].strip())}") is not None


def _drop_quoted_lines(text: str) -> str:
    """Leave out quoted lines with the line that introduces them, headers and signatures."""
    kept: list[str] = []
    lines = text.splitlines()
    marked = [number for number, line in enumerate(lines) if _QUOTED.match(line)]
    for number, line in enumerate(lines):
        if _QUOTED.match(line):
            if kept and not _QUOTED.match(lines[number - 1]) and kept[-1].rstrip().endswith(":"):
                kept.pop()
            continue
        # Below a header all is quoted, unless the quoted lines are marked.
        if _HEADER.match(line) and (not marked or marked[-1] < number):
            break
        if not _SIGNATURE.match(line):
            kept.append(line)
    return "\n".join(kept).strip()
