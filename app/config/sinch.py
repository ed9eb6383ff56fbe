"""SINCH_ settings: host, account and sender."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from app.config.values import AppEnv, ConfigError, is_loopback, is_sample, read_seconds, require
from app.phone.e164 import is_sender

SINCH_HOSTS = frozenset(f"{region}.sms.api.sinch.com" for region in ("us", "eu", "au", "br", "ca"))
# SINCH_SERVICE_PLAN_ID and SINCH_API_TOKEN of the sandbox; rejected in production.
SANDBOX_CREDENTIAL = "sandbox"


@dataclass(frozen=True, slots=True)
class SinchSettings:
    """Host, account and sender at Sinch; timeouts in seconds."""

    url: str
    service_plan_id: str
    api_token: str
    sender: str
    connect_timeout_s: float
    read_timeout_s: float

    def __repr__(self) -> str:
        return f"SinchSettings(url={self.url!r})"

    @property
    def is_sandbox(self) -> bool:
        """True if a server on this machine replaces Sinch: no text is sent."""
        return self.url.removeprefix("https://") not in SINCH_HOSTS


def read_sinch(environ: Mapping[str, str], env: AppEnv) -> SinchSettings:
    """Read the SINCH_ settings; in production only a host of Sinch is accepted."""
    plan_id = require(environ, "SINCH_SERVICE_PLAN_ID")
    token = require(environ, "SINCH_API_TOKEN")
    sender = _read_sender(require(environ, "SINCH_NUMBER"))
    url = require(environ, "SINCH_REGION_URL")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", plan_id):
        raise ConfigError("SINCH_SERVICE_PLAN_ID must be letters, digits, '_' or '-'")
    if (
        not token.isascii()
        or not token.isprintable()
        or any(character in token for character in " \"'")
    ):
        raise ConfigError("SINCH_API_TOKEN must be printable ASCII without blanks or quotes")
    if env is AppEnv.PRODUCTION:
        _reject_sample_credentials(plan_id, token)
    return SinchSettings(
        url=_read_sinch_url(url, env),
        service_plan_id=plan_id,
        api_token=token,
        sender=sender,
        connect_timeout_s=read_seconds(environ, "SINCH_CONNECT_TIMEOUT_S", 3.0),
        read_timeout_s=read_seconds(environ, "SINCH_READ_TIMEOUT_S", 20.0),
    )


def _reject_sample_credentials(plan_id: str, token: str) -> None:
    for name, value in (("SINCH_SERVICE_PLAN_ID", plan_id), ("SINCH_API_TOKEN", token)):
        if SANDBOX_CREDENTIAL in value.lower():
            raise ConfigError(f"{name} is the sandbox's, which is not for production")
        if is_sample(value):
            raise ConfigError(f"{name} is a sample: set your own from Sinch's dashboard")


def _read_sender(value: str) -> str:
    """Read SINCH_NUMBER: E.164, a short code, or an alphanumeric sender."""
    bare_digits = re.fullmatch(r"[1-9][0-9]{8,14}", value)  # as in Sinch's dashboard
    if bare_digits:
        return f"+{value}"
    if not is_sender(value):
        raise ConfigError(
            "SINCH_NUMBER must be a number like +12015550100, a short code of 3 to 8 digits, "
            "or a name of at most 11 letters and digits"
        )
    return value


def _read_sinch_url(value: str, env: AppEnv) -> str:
    """Return scheme, host and port of SINCH_REGION_URL; a path /xms/v1 is allowed."""
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
    if parts.scheme in ("http", "https") and is_loopback(host):
        return f"{parts.scheme}://{parts.netloc}"
    raise ConfigError("SINCH_REGION_URL must be a Sinch host over https, or on loopback")
