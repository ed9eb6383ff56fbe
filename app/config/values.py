"""Parsers and checks of single settings.  Every error names the setting."""

import ipaddress
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

_Choice = TypeVar("_Choice", bound=StrEnum)

_MIN_SECRET_CHARACTERS = 32
_MIN_DISTINCT_CHARACTERS = 12
_SAMPLE_MARKS = (
    "change-me",
    "change_me",
    "changeme",
    "replace",
    "example",
    "sample",
    "secret",
    "api-key",
    "api_key",
    "apikey",
    "your-",
    "your_",
)
_GUESSABLE_MARKS = ("password", "12345678", "abcdefgh", "qwerty")
_SWITCH = {"on": True, "off": False}


def join_host_port(host: str, port: int) -> str:
    """Return host:port, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class ConfigError(Exception):
    """A setting is missing or unsafe: the process must not start."""


class AppEnv(StrEnum):
    """The environment of the process; default: production."""

    PRODUCTION = "production"
    DEVELOPMENT = "development"
    TEST = "test"


def require(environ: Mapping[str, str], name: str) -> str:
    """Return a required setting without surrounding whitespace."""
    value = environ.get(name, "").strip()
    if not value:
        raise ConfigError(f"set {name} (see .env.example)")
    return value


def read_int(
    environ: Mapping[str, str], name: str, default: int, *, lowest: int, highest: int = 10**12
) -> int:
    """Read a whole number within bounds."""
    value = environ.get(name, "").strip()
    if not value:
        return default
    if not re.fullmatch(r"[0-9]{1,12}", value) or not lowest <= int(value) <= highest:
        raise ConfigError(f"{name} must be a whole number from {lowest} to {highest}")
    return int(value)


def read_switch(environ: Mapping[str, str], name: str, *, default: bool = True) -> bool:
    """Read on or off."""
    value = environ.get(name, "").strip().lower()
    if value and value not in _SWITCH:
        raise ConfigError(f"set {name} to on or off")
    return _SWITCH[value] if value else default


def read_choice(
    environ: Mapping[str, str], name: str, choices: type[_Choice], default: _Choice
) -> _Choice:
    """Read one of some words."""
    value = environ.get(name, "").strip().lower()
    try:
        return choices(value or default)
    except ValueError as e:
        *others, last = choices
        raise ConfigError(f"set {name} to {', '.join(others)} or {last}") from e


def read_secret(environ: Mapping[str, str], name: str, env: AppEnv) -> str:
    """Read a secret that may be unset: then it is empty."""
    secret = environ.get(name, "").strip()
    if secret:
        require_strong(name, secret, env)
    return secret


def read_number(
    environ: Mapping[str, str], name: str, *, lowest: float, highest: float
) -> float | None:
    """Read a number within bounds, with at most three decimals.  Returns None if unset."""
    value = environ.get(name, "").strip()
    if not value:
        return None
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,3})?", value) or not (
        lowest <= float(value) <= highest
    ):
        raise ConfigError(f"{name} must be a number from {lowest:g} to {highest:g}")
    return float(value)


def read_seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    """Read seconds above 0, with at most three decimals."""
    value = environ.get(name, "").strip()
    return _parse_seconds(name, value) if value else default


def read_waits(
    environ: Mapping[str, str], name: str, default: tuple[float, ...]
) -> tuple[float, ...]:
    """Read several seconds, separated by commas."""
    value = environ.get(name, "").strip()
    if not value:
        return default
    return tuple(_parse_seconds(name, part.strip()) for part in value.split(","))


def _parse_seconds(name: str, value: str) -> float:
    if not re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,3})?", value) or float(value) <= 0:
        raise ConfigError(f"{name} must be seconds above 0, like 20 or 0.5")
    return float(value)


def is_loopback(host: str) -> bool:
    """Return True if a host is this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_sample(value: str) -> bool:
    """Return True if the value is a placeholder from an example."""
    return any(mark in value.lower() for mark in _SAMPLE_MARKS)


def require_strong(name: str, secret: str, env: AppEnv) -> None:
    """Raise ConfigError if the secret is malformed or, in production, short or guessable."""
    if not secret.isascii() or not secret.isprintable() or not secret:
        raise ConfigError(f"{name} must be printable ASCII and not empty")
    if env is not AppEnv.PRODUCTION:
        return
    if len(secret) < _MIN_SECRET_CHARACTERS:
        raise ConfigError(f"{name} is shorter than {_MIN_SECRET_CHARACTERS} characters")
    if is_sample(secret):
        raise ConfigError(f"{name} is a sample: generate one of your own")
    guessable = any(mark in secret.lower() for mark in _GUESSABLE_MARKS)
    if guessable or len(set(secret)) < _MIN_DISTINCT_CHARACTERS:
        raise ConfigError(f"{name} is not random: generate one")
