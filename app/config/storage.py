"""Settings of database, broker and background workers."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

from app.config.values import AppEnv, ConfigError, read_choice, read_int, read_switch

DEFAULT_DATABASE_URL = "sqlite:///clarion.db"
_PROJECT = Path(__file__).parent.parent.parent
# Hosts whose disks are lost with each restart set these: Heroku, Cloud Foundry, Cloud Run.
_MARKS_OF_HOSTS = frozenset({"DYNO", "VCAP_APPLICATION", "K_SERVICE"})
_REDIS, _BROKERS = ("redis", "rediss"), ("amqp", "amqps", "sqs")
_CERTIFICATE = {"none", "optional", "required"}


class Background(StrEnum):
    """The kind of background workers."""

    THREADS = "threads"  # in the web process
    CELERY = "celery"  # celery workers and celery beat


@dataclass(frozen=True, slots=True)
class BackupSettings:
    """Folder of backups, whether a migration makes one first, and how many are kept (0: all)."""

    folder: Path
    before_migration: bool
    kept: int


def read_database_url(environ: Mapping[str, str]) -> str:
    """Read DATABASE_URL for SQLAlchemy.  Errors do not quote it: it may hold a password.

    A relative path of SQLite is relative to the project, wherever the process was started.
    """
    value = environ.get("DATABASE_URL", "").strip() or DEFAULT_DATABASE_URL
    sqlite = re.fullmatch(r"sqlite:///([^?]+)", value)
    if sqlite and ":memory:" not in value:
        _require_lasting_disk(environ)
        return f"sqlite:///{_PROJECT / sqlite[1]}"
    postgres = re.fullmatch(r"postgres(?:ql)?(?:\+psycopg)?://(.+)", value)
    if not postgres:
        raise ConfigError(
            "DATABASE_URL must read like postgresql://user:password@host/name or sqlite:///file"
        )
    return f"postgresql+psycopg://{postgres[1]}"


def _require_lasting_disk(environ: Mapping[str, str]) -> None:
    """Raise ConfigError where an SQLite file would be lost, unless DISK_STAYS says otherwise."""
    marks = sorted(_MARKS_OF_HOSTS.intersection(environ))
    if not read_switch(environ, "DISK_STAYS", default=not marks):
        seen = f"{marks[0]} is set" if marks else "DISK_STAYS=off"
        raise ConfigError(
            f"DATABASE_URL is an SQLite file, and this host has no disk that stays ({seen}): each "
            "restart would lose every broadcast and opt-out. Set DATABASE_URL to a PostgreSQL; or, "
            "if the file is on a volume that stays, DISK_STAYS=on"
        )


def read_backups(environ: Mapping[str, str], *, database_url: str) -> BackupSettings:
    """Read BACKUP_….  Default folder: beside an SQLite file, else in the project."""
    value = environ.get("BACKUP_DIR", "").strip()
    file = re.fullmatch(r"sqlite:///(.+)", database_url)
    beside = Path(file[1]).parent if file and ":memory:" not in file[1] else _PROJECT
    return BackupSettings(
        folder=_PROJECT / value if value else beside / "backups",
        before_migration=read_switch(environ, "BACKUP_BEFORE_MIGRATION"),
        kept=read_int(environ, "BACKUPS_KEPT", 0, lowest=0, highest=10_000),
    )


def read_redis_url(environ: Mapping[str, str]) -> str | None:
    """Read REDIS_URL.  Errors do not quote it: it may hold a password."""
    value = environ.get("REDIS_URL", "").strip()
    if not value:
        return None
    if not _is_server(value, _REDIS):
        raise ConfigError(
            "REDIS_URL must read like redis://:password@host:6379/0, or rediss:// over TLS; in a "
            "password, write / as %2F, # as %23 and ? as %3F"
        )
    return _spell_redis("REDIS_URL", value)


def read_broker_url(environ: Mapping[str, str]) -> str | None:
    """Read CELERY_BROKER_URL, or else REDIS_URL."""
    value = environ.get("CELERY_BROKER_URL", "").strip()
    if not value:
        return read_redis_url(environ)
    if _is_server(value, _REDIS):
        return _spell_redis("CELERY_BROKER_URL", value)
    if value.startswith("sqs://") or _is_server(value, _BROKERS):
        return value
    raise ConfigError(
        "CELERY_BROKER_URL must be a redis://, rediss://, amqp://, amqps:// or sqs://"
    )


def _spell_redis(name: str, value: str) -> str:
    """Return a URL of Redis as both of its readers take it: those of the limits, and of Celery.

    What one of them does not know would leave it without Redis, and only the log would say so.
    Raises ConfigError.
    """
    parts = urlsplit(value)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    number = options.pop("db", parts.path.strip("/")) or "0"
    checked = options.get("ssl_cert_reqs", "required").lower().removeprefix("cert_")
    is_odd = parts.fragment or checked not in _CERTIFICATE or not re.fullmatch("[0-9]+", number)
    known = {"ssl_cert_reqs", "ssl_ca_certs"} if parts.scheme == "rediss" else set()
    if is_odd or not known.issuperset(options):
        raise ConfigError(
            f"{name} must end in the number of a database, such as redis://host:6379/0. With "
            "rediss://, ssl_cert_reqs=none (or optional, required) and ssl_ca_certs=FILE may come: "
            "leave out all other options"
        )
    if "ssl_cert_reqs" in options:
        options["ssl_cert_reqs"] = checked
    query = f"?{urlencode(options)}" if options else ""
    return f"{parts.scheme}://{parts.netloc}/{number}{query}"


def read_background(environ: Mapping[str, str]) -> Background:
    """Read BACKGROUND.  Default: Celery if there is a broker, else threads."""
    broker = read_broker_url(environ)
    default = Background.CELERY if broker else Background.THREADS
    background = read_choice(environ, "BACKGROUND", Background, default)
    if background is Background.CELERY and not broker:
        raise ConfigError("BACKGROUND=celery needs a broker: set REDIS_URL or CELERY_BROKER_URL")
    own = environ.get("CELERY_BROKER_URL", "").strip() or environ.get("REDIS_URL", "").strip()
    if background is Background.CELERY and environ.get("BROKER_URL", own).strip() not in ("", own):
        raise ConfigError(
            "unset BROKER_URL: the `celery` command takes it for its broker: workers would wait "
            "at another than ours. Set REDIS_URL or CELERY_BROKER_URL alone"
        )
    return background


def read_instance_id(environ: Mapping[str, str]) -> str:
    """Read INSTANCE_ID.  Default: derived from the Sinch service plan and SECRET_KEY."""
    value = environ.get("INSTANCE_ID", "").strip()
    if value and not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value):
        raise ConfigError("INSTANCE_ID must be 1 to 64 letters, digits, '.', '_' or '-'")
    if value:
        return value
    plan, secret = environ.get("SINCH_SERVICE_PLAN_ID", ""), environ.get("SECRET_KEY", "")
    digest = sha256("\n".join((plan.strip(), secret.strip())).encode()).hexdigest()
    return f"derived-{digest[:16]}"


def read_failpoint(environ: Mapping[str, str], env: AppEnv) -> tuple[str, int] | None:
    """Read FAILPOINT `name:count`; only the test environment accepts it."""
    value = environ.get("FAILPOINT", "").strip()
    if not value:
        return None
    named = re.fullmatch(r"([A-Za-z0-9_]+):([1-9][0-9]{0,5})", value)
    if env is not AppEnv.TEST or not named:
        raise ConfigError("FAILPOINT must be name:count, and needs APP_ENV=test")
    return named[1], int(named[2])


def _is_server(value: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError if malformed
        return bool(parts.scheme in schemes and parts.hostname)
    except ValueError:
        return False
