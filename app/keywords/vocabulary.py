"""The tables that texts are looked up in, made once of what each language says.

Everything in them is folded as the texts are.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple

from app.keywords.languages import LANGUAGES, Language
from app.keywords.normalize import fold, split_clauses


class KeywordKind(IntEnum):
    """What a keyword is for; where languages differ, the lowest stands."""

    STOP = 1
    BARE = 2
    START = 3
    HELP = 4
    UNSURE = 5
    YES = 6
    NO = 7


class VocabularyEntry(NamedTuple):
    """What a keyword means; `language` is None where it is several languages'."""

    kind: KeywordKind
    language: str | None


class Phrase:
    """A pattern that is compiled when it is first asked: few of the hundreds are, in a process."""

    __slots__ = ("_compiled", "_written")

    def __init__(self, written: str) -> None:
        self._written = written
        self._compiled: re.Pattern[str] | None = None

    @property
    def pattern(self) -> re.Pattern[str]:
        if self._compiled is None:
            self._compiled = re.compile(self._written)
        return self._compiled

    def match(self, line: str, place: int) -> re.Match[str] | None:
        """Whether a line goes on so from a place."""
        return self.pattern.match(line, place)

    def search(self, line: str) -> re.Match[str] | None:
        """Whether a line has it anywhere."""
        return self.pattern.search(line)


# A phrase of a language.
Plain = tuple[str, Phrase]


class Clear(NamedTuple):
    """A phrase of a language, and the words that bound it to a moment."""

    language: str
    pattern: Phrase
    breaks: frozenset[str]


# Keywords of so many letters are known with one of them wrong; from so many on that is certain.
_NEAR_FROM, _NEAR_CERTAIN_FROM = 6, 8
_LONGEST_NEAR = 24
_DOUBLED = re.compile(r"(.)(?=\1)")


def collapse(word: str) -> str:
    """A word with each letter once where it stands several times in a row.

    >>> collapse("stooopp")
    'stop'
    """
    return _DOUBLED.sub("", word)


def list_shortened(word: str) -> Iterator[str]:
    """A word, and the same without each of its letters; nothing for one too short or too long."""
    if _NEAR_FROM - 1 <= len(word) <= _LONGEST_NEAR:
        yield word
        for place in range(len(word)):
            yield word[:place] + word[place + 1 :]


def _words(text: str) -> list[str]:
    return [word for clause in split_clauses(fold(text)) for word in clause]


def _list_keywords(language: Language) -> Iterator[tuple[str, KeywordKind]]:
    for kind in KeywordKind:
        for keyword in getattr(language, kind.name.lower()).split(","):
            if words := _words(keyword):
                yield " ".join(words), kind


def _collect_keywords() -> dict[str, VocabularyEntry]:
    found: dict[str, VocabularyEntry] = {}
    for language in LANGUAGES:
        for keyword, kind in _list_keywords(language):
            known = found.get(keyword)
            if known is None or kind < known.kind:
                found[keyword] = VocabularyEntry(kind, language.code or None)
            elif kind == known.kind and known.language != language.code:
                found[keyword] = VocabularyEntry(kind, None)
    return found


def _collect_collapsed() -> dict[str, VocabularyEntry]:
    found: dict[str, VocabularyEntry] = {}
    for keyword, entry in KEYWORDS.items():
        short = collapse(keyword.replace(" ", ""))
        if short not in found or entry.kind < found[short].kind:
            found[short] = entry
    return found


def _collect_near() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for keyword, entry in KEYWORDS.items():
        if entry.kind is KeywordKind.STOP and len(keyword) >= _NEAR_FROM and keyword.isalpha():
            for shortened in list_shortened(keyword):
                found.setdefault(shortened, []).append(keyword)
    return found


def read_misspelt(keyword: str) -> VocabularyEntry:
    """What a long keyword stands for with a letter wrong: a shorter one may be another word."""
    kind = KeywordKind.STOP if len(keyword) >= _NEAR_CERTAIN_FROM else KeywordKind.UNSURE
    return VocabularyEntry(kind, KEYWORDS[keyword].language)


def _collect_courtesy() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for language in LANGUAGES:
        for word in _words(language.courtesy):
            found[word] = language.code if word not in found else None
    return found


def _make_pattern(phrase: str) -> tuple[list[str], Phrase]:
    """The words a phrase can begin with, and its pattern."""
    head, *rest = _split_outside_brackets(fold(phrase).replace("(", "(?:").replace("~", "\\S*"))
    parts = ["(?:\\S+ ){0,3}" if part == "..." else f"(?:{part}) " for part in rest]
    written = "".join((f"(?:{head}) ", *parts)).removesuffix(" ")
    return head.split("|"), Phrase(f"{written}(?= |$)")


def _split_outside_brackets(phrase: str) -> list[str]:
    """The words of a phrase, with what stands in brackets as part of one.

    >>> _split_outside_brackets("stop (all )?(texts|these messages) now")
    ['stop', '(all )?(texts|these messages)', 'now']
    """
    parts, depth = [""], 0
    for letter in phrase:
        depth += (letter == "(") - (letter == ")")
        if letter == " " and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _collect_clear() -> dict[str, list[Clear]]:
    found: dict[str, list[Clear]] = {}
    usual = frozenset(_words(next(each.breaks for each in LANGUAGES if each.code == "en")))
    for language in LANGUAGES:
        breaks = usual.union(_words(language.breaks))
        for phrase in language.clear:
            heads, pattern = _make_pattern(phrase)
            for head in heads:
                found.setdefault(head, []).append(Clear(language.code, pattern, breaks))
    return found


def _collect_phrases(of: str) -> Mapping[str, Sequence[Plain]]:
    found: dict[str, list[Plain]] = {}
    for language in LANGUAGES:
        for phrase in getattr(language, of):
            heads, pattern = _make_pattern(phrase)
            for head in heads:
                found.setdefault(head, []).append((language.code, pattern))
    return found


def _list_anywhere() -> Iterator[Plain]:
    for language in LANGUAGES:
        if language.anywhere:
            either = "|".join(f"(?:{fold(each)})" for each in language.anywhere)
            yield language.code, Phrase(either.replace("(", "(?:").replace("(?:?:", "(?:"))


def _set(*texts: str) -> frozenset[str]:
    return frozenset(_words(" ".join(texts)))


KEYWORDS: Mapping[str, VocabularyEntry] = _collect_keywords()
COLLAPSED: Mapping[str, VocabularyEntry] = _collect_collapsed()
NEAR: Mapping[str, Sequence[str]] = _collect_near()
COURTESY: Mapping[str, str | None] = _collect_courtesy()
CLEAR: Mapping[str, Sequence[Clear]] = _collect_clear()
UNCLEAR = _collect_phrases("unclear")
BESIDE = _collect_phrases("beside")
ANYWHERE: Sequence[Plain] = tuple(_list_anywhere())
# Letters of scripts that put no blank between words.
UNSPACED = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")
# Ahead of such a phrase they turn it round.
# Greek and Cyrillic ones, some of which look like Latin ones.
DISGUISE = re.compile("[\u0370-\u052f]")
UNSPACED_NEGATION = re.compile(
    fold("(不要|不想|不用|没有|沒有|别|別|为什么|為什麼)(取消|退订|退訂)|退[订訂]了吗")
)

# What stands around a stop and leaves it one.
FILLERS = _set(
    "hi hello hey hej hallo hola bonjour salut ciao ola ahoj czesc dear team guys guy dude bro",
    "wtf ffs jesus christ ok okay okey k yes yeah yep no nope nah ugh argh just sorry fully",
    "everything everyone forever permanently fuck fucking fuckin fck damn dammit hell god",
    "🛑 ya bye goodbye regards cheers asshole assholes idiots bitch bastards morons it this that",
    "all",
    "nej ja nein oui non nee si ne da nu",
)
# What leads to a wish.
LEADS = _set(
    "i we you u ya want wanna need would like id can could will to so and then but just must have",
    "should im asking ask told said tell requesting request again already why how do really if",
    "possible let demand order wish also for the last time final warning once more is there a way",
    "ich wir möchte will dass sie könnten können könnt würden würdet mal ihr du und aber doch",
    "kan ni du jag vi vill att kunde skulle vänligen och men ska måste ber er om gärna",
    "je veux voudrais vous pouvez pourriez veuillez de et mais prie souhaite tu peux",
    "yo quiero que podrían podrias pueden puede necesito quisiera solicito les pido y pero",
    "vorrei voglio che potete potreste puoi vi prego di e ma eu quero podem poderiam vocês você",
    "tolong ik wij wil dat kun kunt kunnen jullie je u en maar zou graag jeg vil gerne at være så",
    "venlig og",
    "я мы хочу вы можете прошу вас и а ну чтобы мне chcę żebyście możecie i a chci můžete",
)
_COMMON = LEADS | _set("this have will make how who no not just more out number me it that")
NEGATIONS = _set(
    "dont not never wont cant didnt doesnt wouldnt without cannot couldnt shouldnt havent isnt",
    "nicht inte ikke pas jamais niet nunca nao nie nem hade",
)
# Keywords that say something in the midst of a few words.
INSIDE = _set(
    "stop stopp stopall стоп arret unsubscribe unsub optout abmelden abbestellen afmelden",
    "uitschrijven",
    "avregistrera avanmäl avprenumerera afmeld frameld avmeld désabonner désinscrire disiscrivimi",
    "descadastrar dezabonare odhlásit leiratkozás отписаться відписатися odjava wypisz rezygnuję",
)
ORDINARY_BEFORE = _set(
    "bus the a an next last first train tram metro subway pit full truck rest one non dont never",
    "cant",
    "wont didnt couldnt not to this your our every each any no their doesnt wouldnt short quick",
    "final",
    "second third kan inte ett nästa letzte nächste der den l un une hier hit",
)
ORDINARY_BEHIND = _set(
    "by at in on for over off sign light lights working raining smoking drinking worrying",
    "laughing",
    "crying being doing the and here there talking near is was button line motion loss watch",
    "press",
    "before after when until trying thinking making eating playing using going waiting",
    "complaining",
    "lying moving as to hos vid på bei an am sur chez where which snowing",
)
# Behind a line break, or a dash with a blank ahead of it, a person's name may stand.
SIGNATURES = re.compile("\n+| [-–—/~] *")


def _collect_hints() -> frozenset[str]:
    """The words one of which stands in every longer text that may be a wish to stop."""
    keywords = (word for text, entry in KEYWORDS.items() for word in _pick_rarest(text, entry))
    return frozenset((*keywords, *CLEAR, *INSIDE, *((UNCLEAR.keys() | BESIDE.keys()) - _COMMON)))


def _pick_rarest(keyword: str, entry: VocabularyEntry) -> Sequence[str]:
    """Its longest word that is not in every other text."""
    if entry.kind not in (KeywordKind.STOP, KeywordKind.BARE, KeywordKind.UNSURE):
        return ()
    rare = [word for word in keyword.split() if word not in COURTESY and word not in _COMMON]
    return sorted(rare, key=len)[-1:]


HINTS = _collect_hints()
