"""Every setting, read once from the environment into a frozen Config.

The sentence, unit and default of each setting stand in `.env.example`.  A setting that is
missing or unsafe raises ConfigError: one line that names it and says what to do.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dotenv import dotenv_values
from limits import parse_many

from app.config.keys import KeyHash, read_api_keys
from app.config.sinch import SINCH_HOSTS, SinchSettings, read_sinch
from app.config.values import (
    AppEnv,
    ConfigError,
    read_int,
    read_seconds,
    read_waits,
    refuse_weak,
    require,
)

__all__ = [
    "EXIT_CONFIG",
    "SINCH_HOSTS",
    "AppEnv",
    "Config",
    "ConfigError",
    "KeyHash",
    "SinchSettings",
    "load_config",
    "load_config_or_exit",
    "read_config",
]

# One more second goes to the last question: 25 in all, where routers give up at 30.
_MAX_PATIENCE_S = 24.0
_MIN_BUDGET_S = 2.0

EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h


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
    env_file = os.environ.get("ENV_FILE", str(Path(__file__).parent.parent.parent / ".env"))
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
        port=read_int(environ, "PORT", 3000, lowest=1, highest=65535),
        web_concurrency=read_int(environ, "WEB_CONCURRENCY", 1, lowest=1, highest=64),
        web_threads=read_int(environ, "WEB_THREADS", 32, lowest=1, highest=512),
        client_timeout_s=read_int(environ, "CLIENT_TIMEOUT_S", 15, lowest=1, highest=300),
        log_level=_read_log_level(environ),
        api_keys=read_api_keys(environ, env),
        secret_key=_read_secret(environ, "SECRET_KEY", env),
        sinch=read_sinch(environ, env),
        rate_limit=_read_rate_limit(environ),
        redis_url=_read_redis_url(environ),
        trusted_proxies=read_int(environ, "TRUSTED_PROXIES", 0, lowest=0, highest=10),
        max_body_bytes=read_int(environ, "MAX_BODY_BYTES", 20_000_000, lowest=1_000),
        **_read_patience(environ),
    )


def _read_patience(environ: Mapping[str, str]) -> dict[str, Any]:
    """SEND_BUDGET_S and LOOKUP_WAITS_S, which together bound the time to an answer."""
    budget_s = read_seconds(environ, "SEND_BUDGET_S", 20.0)
    waits_s = read_waits(environ, "LOOKUP_WAITS_S", (0.3, 0.7, 1.0, 1.5))
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


def _read_secret(environ: Mapping[str, str], name: str, env: AppEnv) -> str:
    secret = require(environ, name)
    refuse_weak(name, secret, env)
    return secret


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
