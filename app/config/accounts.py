"""SECOND_FACTOR: the users who need a second factor to sign in."""

from collections.abc import Mapping
from enum import StrEnum

from app.config.values import ConfigError


class SecondFactor(StrEnum):
    """The users who need a second factor; others may have one."""

    OFF = "off"
    SENDERS = "senders"  # and the roles above
    ALL = "all"


def read_second_factor(environ: Mapping[str, str]) -> SecondFactor:
    """Read SECOND_FACTOR.  Default: no role needs one."""
    value = environ.get("SECOND_FACTOR", "").strip().lower() or SecondFactor.OFF
    try:
        return SecondFactor(value)
    except ValueError as e:
        raise ConfigError("set SECOND_FACTOR to off, senders or all") from e
