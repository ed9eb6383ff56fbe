"""Every setting, read once from the environment into a frozen Config.

The sentence, unit and default of each setting stand in `.env.example`.  A setting that is
missing or unsafe raises ConfigError: one line that names it and says what to do.
"""

import ipaddress
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dotenv import dotenv_values
from limits import parse_many

from app.phone import is_sender

SINCH_HOSTS = frozenset(f"{region}.sms.api.sinch.com" for region in ("us", "eu", "au", "br", "ca"))
# Value of SINCH_SERVICE_PLAN_ID and SINCH_API_TOKEN for the sandbox, refused in production.
SANDBOX_CREDENTIAL = "sandbox"

# One more second goes to the last question: 25 in all, where routers give up at 30.
_MAX_PATIENCE_S = 24.0
_MIN_BUDGET_S = 2.0

EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h

_MIN_SECRET_CHARACTERS = 32
_MIN_DISTINCT_CHARACTERS = 12
_SAMPLE_MARKS = ("change-me", "change_me", "changeme", "example", "sample", "your-", "your_")
_GUESSABLE_MARKS = ("password", "12345678", "abcdefgh", "qwerty")
_CLIENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class ConfigError(Exception):
    """A setting is missing or unsafe: the process must not start."""


class AppEnv(StrEnum):
    """Where the process runs; unset means production."""

    PRODUCTION = "production"
    DEVELOPMENT = "development"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class KeyHash:
    """One entry of API_KEYS: the client's name and the SHA-256 of its key, never the key."""

    client: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class SinchSettings:
    """Where and as whom to talk to Sinch; timeouts in seconds."""

    url: str
    service_plan_id: str
    api_token: str
    sender: str
    connect_timeout_s: float
    read_timeout_s: float

    def __repr__(self) -> str:
        return f"SinchSettings(url={self.url!r})"


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of one process."""

    env: AppEnv
    port: int
    web_concurrency: int
    web_threads: int
    client_timeout_s: int
    log_level: str
    api_keys: tuple[KeyHash, ...]
    secret_key: str
    sinch: SinchSettings
    rate_limit: str
    redis_url: str | None
    trusted_proxies: int
    max_body_bytes: int
    send_budget_s: float
    lookup_waits_s: tuple[float, ...]

    def __repr__(self) -> str:
        return f"Config(env={self.env.value!r}, port={self.port})"

    @property
    def production(self) -> bool:
        return self.env is AppEnv.PRODUCTION


def load_config() -> Config:
    """The settings from the process environment, and from the file `.env` where that is silent.

    ENV_FILE names another file; empty means none.
    """
    env_file = os.environ.get("ENV_FILE", str(Path(__file__).parent.parent / ".env"))
    from_file = dotenv_values(env_file, interpolate=False) if env_file else {}
    present = {name: value for name, value in from_file.items() if value is not None}
    config = read_config({**present, **os.environ})
    if config.production and "--debugger" in sys.argv:
        raise ConfigError("leave out --debugger: debug is not for production")
    return config


def load_config_or_exit() -> Config:
    """The settings; or one line on standard error and exit code 78."""
    try:
        return load_config()
    except ConfigError as e:
        sys.stderr.write(f"clarion: {e}\n")
        raise SystemExit(EXIT_CONFIG) from e


def read_config(environ: Mapping[str, str]) -> Config:
    """The settings as one value.

    Raises ConfigError on the first setting that is missing, malformed or, in production, unsafe.
    """
    env = _read_env(environ)
    _refuse_debug(environ, env)
    return Config(
        env=env,
        port=_read_int(environ, "PORT", 3000, lowest=1, highest=65535),
        web_concurrency=_read_int(environ, "WEB_CONCURRENCY", 1, lowest=1, highest=64),
        web_threads=_read_int(environ, "WEB_THREADS", 32, lowest=1, highest=512),
        client_timeout_s=_read_int(environ, "CLIENT_TIMEOUT_S", 15, lowest=1, highest=300),
        log_level=_read_log_level(environ),
        api_keys=_read_api_keys(environ, env),
        secret_key=_read_secret(environ, "SECRET_KEY", env),
        sinch=_read_sinch(environ, env),
        rate_limit=_read_rate_limit(environ),
        redis_url=_read_redis_url(environ),
        trusted_proxies=_read_int(environ, "TRUSTED_PROXIES", 0, lowest=0, highest=10),
        max_body_bytes=_read_int(environ, "MAX_BODY_BYTES", 20_000_000, lowest=1_000),
        **_read_patience(environ),
    )


def _read_patience(environ: Mapping[str, str]) -> dict[str, Any]:
    """SEND_BUDGET_S and LOOKUP_WAITS_S, which together bound the time to an answer."""
    budget_s = _read_seconds(environ, "SEND_BUDGET_S", 20.0)
    waits_s = _read_waits(environ, "LOOKUP_WAITS_S", (0.3, 0.7, 1.0, 1.5))
    if budget_s < _MIN_BUDGET_S:
        raise ConfigError(f"SEND_BUDGET_S must be at least {_MIN_BUDGET_S:g} seconds")
    if budget_s + sum(waits_s) > _MAX_PATIENCE_S:
        raise ConfigError(
            f"SEND_BUDGET_S and LOOKUP_WAITS_S must be {_MAX_PATIENCE_S:g} seconds together at "
            "most, or a router gives up before we answer"
        )
    return {"send_budget_s": budget_s, "lookup_waits_s": waits_s}


def _read_env(environ: Mapping[str, str]) -> AppEnv:
    value = environ.get("APP_ENV", "").strip().lower() or AppEnv.PRODUCTION
    try:
        return AppEnv(value)
    except ValueError as e:
        raise ConfigError("set APP_ENV to production, development or test") from e


def _refuse_debug(environ: Mapping[str, str], env: AppEnv) -> None:
    # Flask takes any FLASK_DEBUG but these three, blanks included, for "on": so do we.
    debug = environ.get("FLASK_DEBUG", "").lower() not in ("", "0", "false", "no")
    debugger = environ.get("FLASK_RUN_DEBUGGER", "") != ""
    if (debug or debugger) and env is AppEnv.PRODUCTION:
        name = "FLASK_DEBUG" if debug else "FLASK_RUN_DEBUGGER"
        raise ConfigError(f"unset {name}: debug is not for production")


def _read_log_level(environ: Mapping[str, str]) -> str:
    level = environ.get("LOG_LEVEL", "").strip().upper() or "INFO"
    level = {"WARN": "WARNING", "FATAL": "CRITICAL"}.get(level, level)
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        raise ConfigError("set LOG_LEVEL to debug, info, warning, error or critical")
    return level


def _read_api_keys(environ: Mapping[str, str], env: AppEnv) -> tuple[KeyHash, ...]:
    entries = [entry.strip() for entry in environ.get("API_KEYS", "").split(",")]
    entries = [entry for entry in entries if entry]
    if not entries:
        raise ConfigError("set API_KEYS (see .env.example)")
    keys = tuple(_read_api_key(entry, env) for entry in entries)
    if len({key.client for key in keys}) < len(keys):
        raise ConfigError("API_KEYS has the same name or key twice")
    if len({key.digest for key in keys}) < len(keys):
        raise ConfigError("API_KEYS has the same key under two names")
    return keys


def _read_api_key(entry: str, env: AppEnv) -> KeyHash:
    name, colon, key = (part.strip() for part in entry.partition(":"))
    if not colon:
        name, key = "", entry
    _refuse_weak("a key in API_KEYS", key, env)
    digest = sha256(key.encode()).digest()
    name = name if colon else f"key-{digest.hex()[:8]}"
    if not _CLIENT_NAME.fullmatch(name):
        raise ConfigError(
            "a name in API_KEYS must be 1 to 64 letters, digits, '.', '_' or '-' before its ':'"
        )
    return KeyHash(name, digest)


def _read_secret(environ: Mapping[str, str], name: str, env: AppEnv) -> str:
    secret = _require(environ, name)
    _refuse_weak(name, secret, env)
    return secret


def _refuse_weak(what: str, secret: str, env: AppEnv) -> None:
    if not secret.isascii() or not secret.isprintable() or not secret:
        raise ConfigError(f"{what} must be printable ASCII and not empty")
    if env is not AppEnv.PRODUCTION:
        return
    if len(secret) < _MIN_SECRET_CHARACTERS:
        raise ConfigError(f"{what} is shorter than {_MIN_SECRET_CHARACTERS} characters")
    if any(mark in secret.lower() for mark in _SAMPLE_MARKS):
        raise ConfigError(f"{what} is a sample: generate one of your own")
    guessable = any(mark in secret.lower() for mark in _GUESSABLE_MARKS)
    if guessable or len(set(secret)) < _MIN_DISTINCT_CHARACTERS:
        raise ConfigError(f"{what} is not random: generate one")


def _read_sinch(environ: Mapping[str, str], env: AppEnv) -> SinchSettings:
    plan_id = _require(environ, "SINCH_SERVICE_PLAN_ID")
    token = _require(environ, "SINCH_API_TOKEN")
    sender = _read_sender(_require(environ, "SINCH_NUMBER"))
    url = _require(environ, "SINCH_REGION_URL")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", plan_id):
        raise ConfigError("SINCH_SERVICE_PLAN_ID must be letters, digits, '_' or '-'")
    if not token.isascii() or not token.isprintable() or any(each in token for each in " \"'"):
        raise ConfigError("SINCH_API_TOKEN must be printable ASCII without blanks or quotes")
    if env is AppEnv.PRODUCTION:
        _refuse_sample_sinch(plan_id, token)
    return SinchSettings(
        url=_read_sinch_url(url, env),
        service_plan_id=plan_id,
        api_token=token,
        sender=sender,
        connect_timeout_s=_read_seconds(environ, "SINCH_CONNECT_TIMEOUT_S", 3.0),
        read_timeout_s=_read_seconds(environ, "SINCH_READ_TIMEOUT_S", 20.0),
    )


def _refuse_sample_sinch(plan_id: str, token: str) -> None:
    for name, value in (("SINCH_SERVICE_PLAN_ID", plan_id), ("SINCH_API_TOKEN", token)):
        if SANDBOX_CREDENTIAL in value.lower():
            raise ConfigError(f"{name} is the sandbox's, which is not for production")
        if any(mark in value.lower() for mark in _SAMPLE_MARKS):
            raise ConfigError(f"{name} is a sample: set your own from Sinch's dashboard")


def _read_sender(value: str) -> str:
    """SINCH_NUMBER as E.164, a short code, or an alphanumeric sender."""
    bare_digits = re.fullmatch(r"[1-9][0-9]{8,14}", value)  # as Sinch's dashboard prints it
    if bare_digits:
        return f"+{value}"
    if not is_sender(value):
        raise ConfigError(
            "SINCH_NUMBER must be a number like +12015550100, a short code of 3 to 8 digits, "
            "or a name of at most 11 letters and digits"
        )
    return value


def _read_sinch_url(value: str, env: AppEnv) -> str:
    """The scheme, host and port of SINCH_REGION_URL; a path of /xms/v1 is tolerated."""
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port
    except ValueError as e:
        raise ConfigError("SINCH_REGION_URL is not a URL") from e
    odd = parts.username is not None or parts.query or parts.fragment
    if odd or parts.path.rstrip("/") not in ("", "/xms/v1"):
        raise ConfigError("SINCH_REGION_URL must be scheme and host only")
    if parts.scheme == "https" and host in SINCH_HOSTS and port in (None, 443):
        return f"https://{host}"
    if env is AppEnv.PRODUCTION:
        raise ConfigError(
            "SINCH_REGION_URL must be https:// and one of " + ", ".join(sorted(SINCH_HOSTS))
        )
    if parts.scheme in ("http", "https") and _is_loopback(host):
        return f"{parts.scheme}://{parts.netloc}"
    raise ConfigError("SINCH_REGION_URL must be a Sinch host over https, or on loopback")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read_rate_limit(environ: Mapping[str, str]) -> str:
    value = environ.get("RATE_LIMIT", "").strip() or "100 per 15 minutes"
    try:
        limits = parse_many(value)
    except ValueError as e:
        raise ConfigError("RATE_LIMIT must read like '100 per 15 minutes'") from e
    if any(limit.amount < 1 for limit in limits):
        raise ConfigError("RATE_LIMIT must allow at least 1 call")
    return value


def _read_redis_url(environ: Mapping[str, str]) -> str | None:
    """REDIS_URL, which may hold a password: an error does not quote it."""
    value = environ.get("REDIS_URL", "").strip()
    if not value:
        return None
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("redis", "rediss") and parts.hostname and (parts.port or 1)
    except ValueError:
        usable = None
    if not usable:
        raise ConfigError("REDIS_URL must read like redis://host:6379/0, or rediss:// over TLS")
    return value


def _require(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "").strip()
    if not value:
        raise ConfigError(f"set {name} (see .env.example)")
    return value


def _read_int(
    environ: Mapping[str, str], name: str, default: int, *, lowest: int, highest: int = 10**12
) -> int:
    value = environ.get(name, "").strip()
    if not value:
        return default
    if not re.fullmatch(r"[0-9]{1,12}", value) or not lowest <= int(value) <= highest:
        raise ConfigError(f"{name} must be a whole number from {lowest} to {highest}")
    return int(value)


def _read_seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    value = environ.get(name, "").strip()
    return _parse_seconds(name, value) if value else default


def _read_waits(
    environ: Mapping[str, str], name: str, default: tuple[float, ...]
) -> tuple[float, ...]:
    value = environ.get(name, "").strip()
    if not value:
        return default
    return tuple(_parse_seconds(name, part.strip()) for part in value.split(","))


def _parse_seconds(name: str, value: str) -> float:
    if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", value) or float(value) <= 0:
        raise ConfigError(f"{name} must be seconds above 0, like 20 or 0.5")
    return float(value)
