"""Automatic replies to a person's own text, and the double opt-in question, by language.

The texts are in reply_texts.toml; the keywords that they name are in app/keywords/languages.  The
question asks for YES in every language: YES is a keyword in all of them.
"""

import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from app.sms.content.languages import match_language


class Reply(StrEnum):
    """The kinds of automatic texts."""

    STOP = "stop"  # you are unsubscribed
    START = "start"  # you are subscribed again
    HELP = "help"  # who we are
    CONFIRMED = "confirmed"  # your opt-in is confirmed
    QUESTION = "question"  # do you want our messages?


_TEXTS: Mapping[str, Mapping[str, str]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text("utf-8")
)
_DEFAULT = "en"
_OWN = frozenset(text for texts in _TEXTS.values() for text in texts.values())


def choose_reply(reply: Reply, *languages: str | None) -> str:
    """Return the text in the first of these languages that has one, else in English.

    >>> choose_reply(Reply.STOP, None, "nn-NO")
    'Du er avmeldt og får ikke flere meldinger. Svar START for å melde deg på igjen.'
    """
    known = [language for language, texts in _TEXTS.items() if reply in texts]
    matches = (match_language(language, known) for language in languages)
    return _TEXTS[next(filter(None, matches), _DEFAULT)][reply]


def is_own_reply(text: str) -> bool:
    """Return True if a text is one of our replies, sent back to us."""
    return text.strip() in _OWN
