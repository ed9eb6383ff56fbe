"""Settings of Sinch's callbacks: URL, authentication, report mode."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from app.config.values import AppEnv, ConfigError, read_choice, read_secret, require_strong
from app.sinch.schemas import ReportMode

CALLBACK_PATH = "/webhooks/sinch"

_SECRETS = ("SINCH_WEBHOOK_SECRET", "SINCH_WEBHOOK_SECRET_OLD")
_HOST = re.compile(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]")
# Sinch accepts 2,048 characters, including our path.
_MAX_URL = 2_000


@dataclass(frozen=True, slots=True)
class WebhookAuth:
    """Credentials of callbacks: a signature by one of the secrets, or `user:password`."""

    secrets: tuple[str, ...] = ()
    basic: str | None = None

    def __bool__(self) -> bool:
        return bool(self.secrets or self.basic)

    def __repr__(self) -> str:
        return f"WebhookAuth(secrets={len(self.secrets)}, basic={self.basic is not None})"


def read_public_url(environ: Mapping[str, str], env: AppEnv) -> str | None:
    """Read PUBLIC_URL without a trailing slash.  Returns None if there are no callbacks."""
    value = environ.get("PUBLIC_URL", "").strip().rstrip("/")
    if not value:
        return None
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError if malformed
    except ValueError as e:
        raise ConfigError("PUBLIC_URL is not a URL") from e
    host = parts.netloc.rpartition(":")[0] if parts.port else parts.netloc
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host):
        raise ConfigError("PUBLIC_URL must read like https://sms.example.org")
    if parts.path or parts.query or parts.fragment or len(value) > _MAX_URL:
        raise ConfigError("PUBLIC_URL must be scheme and host only")
    if env is AppEnv.PRODUCTION and parts.scheme != "https":
        raise ConfigError("PUBLIC_URL must be https://, since callbacks hold phone numbers")
    return value


def read_webhook_auth(
    environ: Mapping[str, str], env: AppEnv, *, public_url: str | None
) -> WebhookAuth:
    """Read SINCH_WEBHOOK_SECRET, SINCH_WEBHOOK_SECRET_OLD and SINCH_WEBHOOK_BASIC.

    In production PUBLIC_URL requires one of them.
    """
    new, old = (read_secret(environ, name, env) for name in _SECRETS)
    if old and not new:
        raise ConfigError("SINCH_WEBHOOK_SECRET_OLD is only for a new SINCH_WEBHOOK_SECRET")
    auth = WebhookAuth(
        secrets=tuple(secret for secret in (new, old) if secret), basic=_read_basic(environ, env)
    )
    if public_url and not auth and env is AppEnv.PRODUCTION:
        raise ConfigError(
            "set SINCH_WEBHOOK_SECRET or SINCH_WEBHOOK_BASIC: with PUBLIC_URL, callbacks must "
            "be authenticated"
        )
    return auth


def read_delivery_report(environ: Mapping[str, str]) -> ReportMode:
    """Read DELIVERY_REPORT: the default report mode of broadcasts."""
    return read_choice(environ, "DELIVERY_REPORT", ReportMode, ReportMode.PER_RECIPIENT_FINAL)


def _read_basic(environ: Mapping[str, str], env: AppEnv) -> str | None:
    value = environ.get("SINCH_WEBHOOK_BASIC", "").strip()
    if not value:
        return None
    user, colon, password = value.partition(":")
    if not user or not colon:
        raise ConfigError("SINCH_WEBHOOK_BASIC must read like user:password")
    require_strong("the user in SINCH_WEBHOOK_BASIC", user, AppEnv.DEVELOPMENT)
    require_strong("the password in SINCH_WEBHOOK_BASIC", password, env)
    return value
