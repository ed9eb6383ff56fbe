"""What a person's own text is answered, in their language.

The keywords that the answers name are in app/subscribers/languages.
"""

import tomllib
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path


class Reply(StrEnum):
    """What an answer says."""

    STOP = "stop"  # that nothing more comes
    START = "start"  # that texts come again
    HELP = "help"  # whose number this is
    CONFIRMED = "confirmed"  # that what was asked is confirmed


_TEXTS: Mapping[str, Mapping[str, str]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text("utf-8")
)
_SAME = {"no": "nb", "nn": "nb"}
_DEFAULT = "en"
_OWN = frozenset(text for texts in _TEXTS.values() for text in texts.values())


def choose_reply(reply: Reply, *languages: str | None) -> str:
    """The answer in the first of these languages that there is one in, else in English.

    >>> choose_reply(Reply.STOP, None, "nn-NO")
    'Du er avmeldt og får ikke flere meldinger. Svar START for å melde deg på igjen.'
    """
    roots = ((language or "").lower().partition("-")[0] for language in languages)
    known = (_SAME.get(root, root) for root in roots)
    language = next((each for each in known if each in _TEXTS), _DEFAULT)
    return _TEXTS[language][reply]


def is_own_reply(text: str) -> bool:
    """Whether a text is one of our answers, come back."""
    return text.strip() in _OWN
