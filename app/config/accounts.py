"""SECOND_FACTOR: the users who need a second factor to sign in."""

from collections.abc import Mapping
from enum import StrEnum

from app.config.values import read_choice


class SecondFactor(StrEnum):
    """The users who need a second factor; others may have one."""

    OFF = "off"
    SENDERS = "senders"  # and the roles above
    ALL = "all"


def read_second_factor(environ: Mapping[str, str]) -> SecondFactor:
    """Read SECOND_FACTOR.  Default: no role needs one."""
    return read_choice(environ, "SECOND_FACTOR", SecondFactor, SecondFactor.OFF)
