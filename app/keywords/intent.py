"""The intents that a text can have."""

from enum import StrEnum
from typing import NamedTuple


class KeywordIntent(StrEnum):
    """The intent of a text from a phone."""

    STOP = "stop"  # the sender wants no more texts
    MAYBE_STOP = "maybe_stop"  # suppressed too, and an operator reviews it
    START = "start"  # the sender wants texts again
    HELP = "help"  # the sender asks who we are
    YES = "yes"  # the sender confirms an opt-in
    NONE = "none"  # an ordinary text


class KeywordMatch(NamedTuple):
    """An intent, and the language of its keyword unless several languages share it."""

    intent: KeywordIntent
    language: str | None = None
