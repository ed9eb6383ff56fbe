"""By which words people say that they want no more, or want it again: a file for each language.

Keywords stand in one text, with commas between them.  Phrases read as their words stand, after
punctuation, accents and capitals are gone: `a|b` for either word, `( word)?` for what may be left
out, `...` for up to three words of any kind, `~` for any ending, `<part>` for what the file names
so.  A phrase begins with a word, or several with `|`.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FILES = Path(__file__).parent / "languages"
_ANY = "any"
_PHRASES = ("clear", "unclear", "beside", "anywhere")
_PART = re.compile("<([a-z]+)>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """What is said in one language; `code` is empty for what is said in any.

    `stop` alone is certain, also with courtesy; `bare` is certain as the whole text only, and
    `unsure` not even then.  A `clear` phrase is certain at the beginning of a sentence; an
    `unclear` one never is; one to stand `beside` says nothing of it, but a stop at its side stays
    certain.  `anywhere` are patterns of scripts that put no blank between words: certain in a
    short text, wherever they stand.  `courtesy` are words that change nothing; with one of
    `breaks` behind it a clear phrase may be about a moment only.
    """

    code: str
    stop: str = ""
    bare: str = ""
    unsure: str = ""
    start: str = ""
    help: str = ""
    yes: str = ""
    no: str = ""
    courtesy: str = ""
    breaks: str = ""
    clear: Sequence[str] = ()
    unclear: Sequence[str] = ()
    beside: Sequence[str] = ()
    anywhere: Sequence[str] = ()


def _read_files() -> Iterator[Language]:
    for path in sorted(_FILES.glob("*.toml")):
        fields = tomllib.loads(path.read_text("utf-8"))
        parts = fields.pop("parts", {})
        filled = {name: _fill(fields[name], parts) for name in _PHRASES if name in fields}
        code = "" if path.stem == _ANY else path.stem
        yield Language(**{**fields, **filled, "code": code})


def _fill(phrases: Sequence[str], parts: Mapping[str, Any]) -> Sequence[str]:
    return [_PART.sub(lambda match: str(parts[match[1]]), phrase) for phrase in phrases]


LANGUAGES: Sequence[Language] = tuple(_read_files())
