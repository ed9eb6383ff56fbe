"""Texts as they are read: in pieces, with placeholders and characters that cost marked."""

import re
from collections.abc import Iterator, Mapping

from app.sms.content.placeholders import PLACEHOLDER
from app.text.lookalikes import find_non_gsm_characters

PLAIN, NAME, COSTLY = "", "name", "costly"


def mark_texts(texts: Mapping[str | None, str]) -> list[dict[str, object]]:
    """Return the texts by language as pieces."""
    return [
        {"language": language, "pieces": list(mark_text(text))} for language, text in texts.items()
    ]


def mark_text(text: str) -> Iterator[tuple[str, str]]:
    """Yield the pieces of a text, each with its kind.

    A character costs if a text without it could be in GSM-7; others have no cheaper spelling.

    >>> list(mark_text("Hi ${name}, don’t"))
    [('', 'Hi '), ('name', 'name'), ('', ', don'), ('costly', '’'), ('', 't')]
    """
    found = find_non_gsm_characters(text)
    costly = [one.character for one in found if one.look_alike is not None]
    pattern = re.compile("|".join([PLACEHOLDER.pattern, *map(re.escape, costly)]))
    end = 0
    for match in pattern.finditer(text):
        if match.start() > end:
            yield PLAIN, text[end : match.start()]
        yield (NAME, match[1]) if match[1] else (COSTLY, match[0])
        end = match.end()
    if end < len(text):
        yield PLAIN, text[end:]
