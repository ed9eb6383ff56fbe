"""Rules of marketing: consent, quiet hours, frequency caps; and of imports."""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from app.config.values import AppEnv, ConfigError, read_int, read_secret, read_switch

_WINDOW = re.compile(
    r"(?P<country>[A-Z]{2}|\*)=(?P<from>[0-2][0-9]:[0-5][0-9])-(?P<to>[0-2][0-9]:[0-5][0-9])"
)
_COUNTRY = re.compile(r"[A-Z]{2}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})?")
_MAX_FOOTER = 100
_MAX_HELP = 320


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberRules:
    """Rules for texts to subscribers.

    `quiet_hours` maps a country, or `*` for all others, to the local times between which nothing is
    sent.  They override our own table.  A window whose ends are equal is empty.
    """

    default_zone: str = "UTC"
    default_language: str = "en"
    default_country: str | None = None
    quiet_hours: Mapping[str, tuple[time, time]] = field(default_factory=dict)
    marketing_per_day: int = 3
    opt_out_footer: bool = True
    opt_out_footers: Mapping[str, str] = field(default_factory=dict)
    opt_out_replies: bool = True
    help_text: str | None = None
    import_max_bytes: int = 200_000_000
    import_kept_days: int = 7
    # Of imports that have not ended: each client's, and those of all clients.
    import_client_files: int = 100
    import_client_bytes: int = 1_000_000_000
    import_total_files: int = 1_000
    import_total_bytes: int = 4_000_000_000


def read_subscriber_rules(environ: Mapping[str, str]) -> SubscriberRules:
    """Read the rules, with defaults for unset settings."""
    return SubscriberRules(
        default_zone=_read_zone(environ),
        default_language=_read_match(environ, "DEFAULT_LANGUAGE", _LANGUAGE, "sv or pt-BR") or "en",
        default_country=_read_match(environ, "DEFAULT_COUNTRY", _COUNTRY, "SE"),
        quiet_hours=_read_quiet_hours(environ),
        marketing_per_day=read_int(environ, "MARKETING_PER_DAY", 3, lowest=0, highest=1_000),
        opt_out_footer=environ.get("OPT_OUT_FOOTER", "").strip().lower() != "off",
        opt_out_footers=_read_footers(environ),
        opt_out_replies=read_switch(environ, "OPT_OUT_REPLIES"),
        help_text=_read_help_text(environ),
        import_max_bytes=read_int(environ, "IMPORT_MAX_BYTES", 200_000_000, lowest=1_000),
        import_kept_days=read_int(environ, "IMPORT_KEPT_DAYS", 7, lowest=0, highest=365),
        import_client_files=read_int(environ, "IMPORT_CLIENT_FILES", 100, lowest=1),
        import_client_bytes=read_int(environ, "IMPORT_CLIENT_BYTES", 1_000_000_000, lowest=1_000),
        import_total_files=read_int(environ, "IMPORT_TOTAL_FILES", 1_000, lowest=1),
        import_total_bytes=read_int(environ, "IMPORT_TOTAL_BYTES", 4_000_000_000, lowest=1_000),
    )


def read_phone_hash_key(environ: Mapping[str, str], env: AppEnv, *, secret_key: str) -> bytes:
    """Return the key for hashing phone numbers: SUPPRESSION_KEY, or derived from SECRET_KEY."""
    if own := read_secret(environ, "SUPPRESSION_KEY", env):
        return own.encode()
    return hmac.digest(secret_key.encode(), b"clarion suppressions", "sha256")


def _read_help_text(environ: Mapping[str, str]) -> str | None:
    text = environ.get("HELP_TEXT", "").strip()
    if len(text) > _MAX_HELP or "${" in text or not text.isprintable():
        raise ConfigError(
            f"HELP_TEXT must be one line of at most {_MAX_HELP} characters without a '${{'"
        )
    return text or None


def _read_zone(environ: Mapping[str, str]) -> str:
    name = environ.get("DEFAULT_TIME_ZONE", "").strip() or "UTC"
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as e:
        raise ConfigError(
            "DEFAULT_TIME_ZONE must be the name of a time zone, such as Europe/Berlin"
        ) from e
    return name


def _read_match(
    environ: Mapping[str, str], name: str, pattern: re.Pattern[str], example: str
) -> str | None:
    value = environ.get(name, "").strip()
    if value and not pattern.fullmatch(value):
        raise ConfigError(f"{name} must read like {example}")
    return value or None


def _read_quiet_hours(environ: Mapping[str, str]) -> Mapping[str, tuple[time, time]]:
    """Read windows such as `SE=21:00-08:00,*=20:00-09:00`."""
    windows: dict[str, tuple[time, time]] = {}
    for entry in environ.get("QUIET_HOURS", "").split(","):
        if not entry.strip():
            continue
        match = _WINDOW.fullmatch(entry.strip())
        try:
            if match is None:
                raise ValueError(entry)
            window = time.fromisoformat(match["from"]), time.fromisoformat(match["to"])
        except ValueError as e:
            raise ConfigError(
                "QUIET_HOURS must read like SE=21:00-08:00,*=20:00-09:00, in local time"
            ) from e
        windows[match["country"]] = window
    return windows


def _read_footers(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Read footers by language, such as `en=Txt STOP to end|sv=STOPP avslutar`."""
    value = environ.get("OPT_OUT_FOOTER", "").strip()
    if value.lower() in ("", "on", "off"):
        return {}
    footers = {}
    for entry in value.split("|"):
        language, _, footer = (part.strip() for part in entry.partition("="))
        if not _LANGUAGE.fullmatch(language) or not 0 < len(footer) <= _MAX_FOOTER:
            raise ConfigError(
                "set OPT_OUT_FOOTER to on, off, or texts like en=Txt STOP to end|sv=STOPP avslutar"
            )
        footers[language] = footer
    return footers
