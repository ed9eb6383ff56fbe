"""API_KEYS: the clients of the API."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from app.config.values import AppEnv, ConfigError, require_strong

# Actors of our own in audit log and consent ledger: auto-replies, command line, phone, carrier.
_RESERVED_NAMES = ("clarion", "cli", "phone", "carrier")
_CLIENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class KeyHash:
    """One entry of API_KEYS: the client's name and the SHA-256 of its key, never the key."""

    client: str
    digest: bytes


def read_api_keys(environ: Mapping[str, str], env: AppEnv) -> tuple[KeyHash, ...]:
    """Read the keys: comma-separated, each `name:key` or just the key."""
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
    require_strong("a key in API_KEYS", key, env)
    digest = sha256(key.encode()).digest()
    name = name if colon else f"key-{digest.hex()[:8]}"
    if not _CLIENT_NAME.fullmatch(name):
        raise ConfigError(
            "a name in API_KEYS must be 1 to 64 letters, digits, '.', '_' or '-' before its ':'"
        )
    if name in _RESERVED_NAMES:
        raise ConfigError(f"a name in API_KEYS must not be {name}: that is the service itself")
    return KeyHash(name, digest)
