"""What a text can ask of us."""

from enum import StrEnum
from typing import NamedTuple


class KeywordIntent(StrEnum):
    """What a text asks of us."""

    STOP = "stop"  # nothing more, for certain
    MAYBE_STOP = "maybe_stop"  # perhaps: to be looked at
    START = "start"  # texts again
    HELP = "help"  # who we are
    YES = "yes"  # confirms what was asked
    NO = "no"  # does not
    NONE = "none"  # none of these


class KeywordMatch(NamedTuple):
    """A wish, and in which language it was said, where that shows."""

    intent: KeywordIntent
    language: str | None = None
