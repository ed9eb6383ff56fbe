"""Settings of metrics and of error reports."""

import hashlib
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from app.config.values import AppEnv, ConfigError, is_loopback, read_int, read_secret

_MEMORY = Path("/dev/shm")  # noqa: S108 (app/metrics/files.py checks whose the folder is)
_PUBLIC_KEY = re.compile(r"[A-Za-z0-9]{1,64}")
_PROJECT = re.compile(r"/(?:[A-Za-z0-9._-]+/)*[0-9]{1,20}")


@dataclass(frozen=True, slots=True)
class Monitoring:
    """Settings of metrics and of error reports.

    `metrics_token` opens /metrics.  The processes of this installation on this machine count
    together in `metrics_dir`.  A worker of Celery serves their counts at `worker_port`, 0 for none.
    Errors are reported to `sentry_dsn`.
    """

    metrics_token: str | None
    metrics_dir: Path
    worker_port: int
    sentry_dsn: str | None

    def __repr__(self) -> str:
        return f"Monitoring(metrics_dir={str(self.metrics_dir)!r})"


def read_monitoring(
    environ: Mapping[str, str], env: AppEnv, *, database_url: str, instance_id: str
) -> Monitoring:
    """Read METRICS_TOKEN, METRICS_DIR, WORKER_METRICS_PORT and SENTRY_DSN."""
    folder = environ.get("METRICS_DIR", "").strip()
    if folder and not Path(folder).is_absolute():
        raise ConfigError("METRICS_DIR must be an absolute path, such as /run/clarion/metrics")
    return Monitoring(
        metrics_token=read_secret(environ, "METRICS_TOKEN", env) or None,
        metrics_dir=Path(folder) if folder else _choose_folder(database_url, instance_id),
        worker_port=read_int(environ, "WORKER_METRICS_PORT", 0, lowest=0, highest=65_535),
        sentry_dsn=_read_sentry_dsn(environ),
    )


def _choose_folder(database_url: str, instance_id: str) -> Path:
    """Return a folder of this user and installation, in memory if there is a place for that."""
    parent = _MEMORY if os.access(_MEMORY, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
    digest = hashlib.sha256(f"{instance_id}\n{database_url}".encode()).hexdigest()
    return parent / f"clarion-metrics-{os.getuid()}-{digest[:16]}"


def _read_sentry_dsn(environ: Mapping[str, str]) -> str | None:
    """Read SENTRY_DSN.  Errors do not quote it: it holds a key."""
    value = environ.get("SENTRY_DSN", "").strip()
    if not value:
        return None
    if not _is_sentry_dsn(value):
        raise ConfigError(
            "SENTRY_DSN must read like https://key@host/project (http:// only on this machine)"
        )
    return value


def _is_sentry_dsn(value: str) -> bool:
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError if malformed
    except ValueError:
        return False
    is_safe = parts.scheme == "https" or (
        parts.scheme == "http" and is_loopback(parts.hostname or "")
    )
    is_key = _PUBLIC_KEY.fullmatch(parts.username or "") is not None
    is_bare = parts.password is None and not parts.query and not parts.fragment
    is_project = _PROJECT.fullmatch(parts.path) is not None
    return bool(parts.hostname) and is_safe and is_key and is_bare and is_project
