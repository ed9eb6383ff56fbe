"""Settings, read once from the environment into a frozen Config.

`.env.example` documents each setting with its unit and default.  A missing or unsafe setting
raises ConfigError: one line that names the setting and what to do.

values    parsers and checks shared by all      storage   databases, backups, broker, background
keys      API_KEYS                              scopes    permissions of a key
accounts  SECOND_FACTOR                         monitoring  metrics, error reports
people    consent, quiet hours, caps, imports   sinch     SINCH_…: account and host
sending   times and limits of sending           webhooks  callbacks of Sinch
numbers   countries and kinds of numbers
"""

import ipaddress
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dotenv import dotenv_values, find_dotenv
from limits import parse_many

from app.config.accounts import SecondFactor, read_second_factor
from app.config.keys import KeyHash, read_allowed_senders, read_api_keys
from app.config.monitoring import Monitoring, read_monitoring
from app.config.people import SubscriberRules, read_phone_hash_key, read_subscriber_rules
from app.config.sending import SendingRules, read_sending_rules
from app.config.sinch import SinchSettings, read_sinch
from app.config.storage import (
    Background,
    BackupSettings,
    read_background,
    read_backups,
    read_broker_url,
    read_database_url,
    read_failpoint,
    read_instance_id,
    read_redis_url,
)
from app.config.values import (
    AppEnv,
    ConfigError,
    join_host_port,
    read_choice,
    read_int,
    read_switch,
    require,
    require_strong,
)
from app.config.webhooks import (
    CALLBACK_PATH,
    WebhookAuth,
    read_delivery_report,
    read_public_url,
    read_webhook_auth,
)
from app.sinch.schemas import ReportMode
from app.text.typos import suggest

__all__ = [
    "CALLBACK_PATH",
    "EXIT_CONFIG",
    "AppEnv",
    "Background",
    "BackupSettings",
    "Config",
    "ConfigError",
    "KeyHash",
    "SendingRules",
    "SinchSettings",
    "SubscriberRules",
    "WebhookAuth",
    "load_config",
    "load_config_or_exit",
    "read_config",
]

EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h
# Times the limits of production: learning must not end in a quarter of an hour's lock-out.
_DEVELOPMENT_CALLS = 100
# Alike enough that no other program's setting is taken for a misspelt one of ours.
_MISSPELT = 0.85
# The values of FLASK_SKIP_DOTENV with which the `flask` command adds a `.env`.
_FLASK_ADDS = ("", "0", "false", "no")


@dataclass(frozen=True, slots=True)
class Config:
    """All settings of one process."""

    env: AppEnv
    host: str
    port: int
    web_concurrency: int
    web_threads: int
    web_cpu_affinity: bool
    client_timeout_s: int
    log_level: str
    api_keys: tuple[KeyHash, ...]
    allowed_senders: Mapping[str, frozenset[str]]
    secret_key: str
    second_factor: SecondFactor
    sinch: SinchSettings
    rate_limit: str
    read_rate_limit: str
    redis_url: str | None
    trusted_proxies: int
    max_body_bytes: int
    database_url: str
    backups: BackupSettings
    instance_id: str
    background: Background
    sender_threads: int
    broker_url: str | None
    failpoint: tuple[str, int] | None
    rules: SendingRules
    subscriber_rules: SubscriberRules
    phone_hash_key: bytes
    public_url: str | None
    webhook_auth: WebhookAuth
    delivery_report: ReportMode
    monitoring: Monitoring
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Config(env={self.env.value!r}, port={self.port})"

    @property
    def production(self) -> bool:
        return self.env is AppEnv.PRODUCTION

    @property
    def own_host(self) -> str:
        """The address at which this machine reaches the service."""
        return "127.0.0.1" if ipaddress.ip_address(self.host).is_unspecified else self.host

    @property
    def own_url(self) -> str:
        """The URL at which this machine reaches the service."""
        return f"http://{join_host_port(self.own_host, self.port)}"

    @property
    def page_url(self) -> str:
        """The URL at which people reach the pages."""
        return self.public_url or self.own_url

    @property
    def callback_url(self) -> str | None:
        """The URL that Sinch posts callbacks to; None if there are no callbacks."""
        return f"{self.public_url}{CALLBACK_PATH}" if self.public_url else None


def load_config() -> Config:
    """Read the settings from the environment, and those missing there from the file `.env`.

    ENV_FILE names another file; empty means none.  Raises ConfigError.
    """
    environ = _read_environ()
    env_file = environ.get("ENV_FILE", str(Path(__file__).parent.parent.parent / ".env"))
    from_file = dotenv_values(env_file, interpolate=False) if env_file else {}
    present = {name: value for name, value in from_file.items() if value is not None}
    asked = _Asked({**present, **environ})
    config = read_config(asked)
    config = replace(config, warnings=_find_misspelt(asked, from_file))
    if config.production and "--debugger" in sys.argv:
        raise ConfigError("leave out --debugger: debug is not for production")
    return config


def _read_environ() -> dict[str, str]:
    """Return the environment without what the `flask` command has added to it.

    It adds the `.env` of the folder it is started in, whatever ENV_FILE says, and puts other
    settings in place of `${NAME}`.
    """
    environ = dict(os.environ)
    adds = environ.get("FLASK_SKIP_DOTENV", "").lower() in _FLASK_ADDS
    if environ.get("FLASK_RUN_FROM_CLI") != "true" or not adds:
        return environ
    added: dict[str, str | None] = {}
    for name in (".flaskenv", ".env"):
        file = find_dotenv(name, usecwd=True)
        added |= dotenv_values(file, interpolate=False, encoding="utf-8")
    return {
        name: value
        for name, value in environ.items()
        if added.get(name) != value and "${" not in (added.get(name) or "")
    }


class _Asked(dict[str, str]):
    """An environment that remembers the names that were asked for."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__(environ)
        self.names: set[str] = {"ENV_FILE"}

    def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
        self.names.add(name)
        return super().get(name, default)


def _find_misspelt(asked: _Asked, from_file: Mapping[str, str | None]) -> tuple[str, ...]:
    """Return a warning for each name that is no setting: any in our file, else one like ours."""
    warnings = []
    for name in sorted(set(asked) - asked.names):
        meant = suggest(name, asked.names, alike=_MISSPELT)
        if meant or name in from_file:
            hint = f": perhaps you mean {meant}" if meant else " (see .env.example)"
            warnings.append(f"{name} is not a setting of Clarion and has no effect{hint}")
    return tuple(warnings)


def load_config_or_exit() -> Config:
    """Read the settings, or exit with code 78 and one line on standard error.

    Files that the process writes from now on are its owner's alone: they hold numbers and texts.
    """
    os.umask(0o077)
    try:
        return load_config()
    except ConfigError as e:
        sys.stderr.write(f"clarion: {e}\n")
        raise SystemExit(EXIT_CONFIG) from e


def read_config(environ: Mapping[str, str]) -> Config:
    """Read the settings from `environ`.

    Raises ConfigError for the first setting that is missing, malformed or, in production, unsafe.
    """
    env = read_choice(environ, "APP_ENV", AppEnv, AppEnv.PRODUCTION)
    _reject_debug(environ, env)
    public_url = read_public_url(environ, env)
    api_keys = read_api_keys(environ, env)
    secret_key = _read_secret(environ, "SECRET_KEY", env)
    redis_url = read_redis_url(environ)
    database_url, instance_id = read_database_url(environ), read_instance_id(environ)
    return Config(
        env=env,
        host=_read_host(environ),
        port=read_int(environ, "PORT", 3000, lowest=1, highest=65535),
        web_concurrency=_read_processes(environ, env, redis_url=redis_url),
        web_threads=read_int(environ, "WEB_THREADS", 32, lowest=1, highest=512),
        web_cpu_affinity=read_switch(environ, "WEB_CPU_AFFINITY", default=False),
        client_timeout_s=read_int(environ, "CLIENT_TIMEOUT_S", 15, lowest=1, highest=300),
        log_level=_read_log_level(environ),
        api_keys=api_keys,
        allowed_senders=read_allowed_senders(environ, api_keys),
        secret_key=secret_key,
        second_factor=read_second_factor(environ),
        sinch=read_sinch(environ, env),
        rate_limit=_read_rate_limit(environ, "RATE_LIMIT", 100, env),
        read_rate_limit=_read_rate_limit(environ, "READ_RATE_LIMIT", 1000, env),
        redis_url=redis_url,
        trusted_proxies=read_int(environ, "TRUSTED_PROXIES", 0, lowest=0, highest=10),
        max_body_bytes=read_int(environ, "MAX_BODY_BYTES", 40_000_000, lowest=1_000),
        database_url=database_url,
        backups=read_backups(environ, database_url=database_url),
        instance_id=instance_id,
        background=read_background(environ),
        sender_threads=read_int(environ, "SENDER_THREADS", 4, lowest=1, highest=64),
        broker_url=read_broker_url(environ),
        failpoint=read_failpoint(environ, env),
        rules=read_sending_rules(environ),
        subscriber_rules=read_subscriber_rules(environ),
        phone_hash_key=read_phone_hash_key(environ, env, secret_key=secret_key),
        public_url=public_url,
        webhook_auth=read_webhook_auth(environ, env, public_url=public_url),
        delivery_report=read_delivery_report(environ),
        monitoring=read_monitoring(
            environ, env, database_url=database_url, instance_id=instance_id
        ),
    )


def _read_host(environ: Mapping[str, str]) -> str:
    """Read the address to listen on; default: this machine only."""
    value = environ.get("HOST", "").strip().strip("[]") or "127.0.0.1"
    try:
        return str(ipaddress.ip_address("127.0.0.1" if value == "localhost" else value))
    except ValueError as e:
        raise ConfigError(
            "HOST must be an IP address to listen on, such as 127.0.0.1 (this machine only) or "
            "0.0.0.0 (every network)"
        ) from e


def _reject_debug(environ: Mapping[str, str], env: AppEnv) -> None:
    # Like Flask, any other FLASK_DEBUG, blanks included, means "on".
    debug = environ.get("FLASK_DEBUG", "").lower() not in ("", "0", "false", "no")
    debugger = environ.get("FLASK_RUN_DEBUGGER", "") != ""
    if (debug or debugger) and env is AppEnv.PRODUCTION:
        name = "FLASK_DEBUG" if debug else "FLASK_RUN_DEBUGGER"
        raise ConfigError(f"unset {name}: debug is not for production")


def _read_processes(environ: Mapping[str, str], env: AppEnv, *, redis_url: str | None) -> int:
    processes = read_int(environ, "WEB_CONCURRENCY", 1, lowest=1, highest=64)
    if processes > 1 and env is AppEnv.PRODUCTION and redis_url is None:
        raise ConfigError(
            f"WEB_CONCURRENCY={processes} needs REDIS_URL: without it each process counts rate "
            "limits for itself, and keys can be guessed as many times more often. Set REDIS_URL, "
            "or WEB_CONCURRENCY=1 and more WEB_THREADS"
        )
    return processes


def _read_log_level(environ: Mapping[str, str]) -> str:
    level = environ.get("LOG_LEVEL", "").strip().upper() or "INFO"
    level = {"WARN": "WARNING", "FATAL": "CRITICAL"}.get(level, level)
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"):
        raise ConfigError("set LOG_LEVEL to debug, info, warning, error or critical")
    return level


def _read_secret(environ: Mapping[str, str], name: str, env: AppEnv) -> str:
    secret = require(environ, name)
    require_strong(name, secret, env)
    return secret


def _read_rate_limit(environ: Mapping[str, str], name: str, calls: int, env: AppEnv) -> str:
    """Read a rate limit; the default is `calls` per 15 minutes, 100 times that in development."""
    default = calls * (_DEVELOPMENT_CALLS if env is AppEnv.DEVELOPMENT else 1)
    value = environ.get(name, "").strip() or f"{default} per 15 minutes"
    try:
        limits = parse_many(value)
    except ValueError as e:
        raise ConfigError(f"{name} must read like '100 per 15 minutes'") from e
    if any(limit.amount < 1 for limit in limits):
        raise ConfigError(f"{name} must allow at least 1 call")
    return value
