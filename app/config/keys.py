"""API_KEYS and ALLOWED_SENDERS: the clients of the API, and the senders they may use."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from app.config.scopes import DEFAULT_SCOPES, KeyScope, read_scopes
from app.config.values import AppEnv, ConfigError, require_strong
from app.phone.e164 import is_sender
from app.text.typos import suggest

# The client that the pages act for.
PEOPLE_CLIENT = "people"
# The client of what Clarion sends by itself: automatic replies, double opt-in questions.
OWN_CLIENT = "clarion"
# Actors of our own in audit log and consent ledger: auto-replies, command line, phone, carrier, and
# users of the pages.
_RESERVED_NAMES = (OWN_CLIENT, "cli", "phone", "carrier", PEOPLE_CLIENT)
_EXAMPLE = "name[scope scope]:key"
# Not one between the brackets.
_COMMA = re.compile(r",(?![^\[\]]*\]\s*:)")
CLIENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
# name[scope scope]:key; the name and the scopes may be left out.
_NAMED = re.compile(r"(?P<name>[^:\[\]]*)(?:\[(?P<scopes>[^\[\]]*)\]\s*)?:(?P<key>.*)")


@dataclass(frozen=True, slots=True)
class KeyHash:
    """One entry of API_KEYS: the client, the key's scopes and its SHA-256, never the key."""

    client: str
    digest: bytes
    scopes: frozenset[KeyScope] = DEFAULT_SCOPES

    @property
    def is_unnamed(self) -> bool:
        """True if the entry names no client: each such key is a client of its own."""
        return self.client == _name_client(self.digest)


def _name_client(digest: bytes) -> str:
    return f"key-{digest.hex()[:8]}"


def read_api_keys(environ: Mapping[str, str], env: AppEnv) -> tuple[KeyHash, ...]:
    """Read the keys: comma-separated, each `name[scope scope]:key`, `name:key` or just the key.

    A client may have several keys, so that one can replace another.
    """
    keys = tuple(_read_api_key(entry, env) for entry in _split(environ.get("API_KEYS", "")))
    if not keys:
        raise ConfigError("set API_KEYS (see .env.example)")
    if len({key.digest for key in keys}) < len(keys):
        raise ConfigError("API_KEYS has the same key twice: each key once, for one client")
    return keys


def find_first_key(api_keys: str) -> str:
    """Return the first key of API_KEYS in clear text; Config has only its hash."""
    entry = _split(api_keys)[0]
    named = _NAMED.fullmatch(entry)
    return named["key"].strip() if named else entry


def find_name_fault(client: str) -> str | None:
    """Return what is wrong with the name of a client, to follow "the name"; None if nothing is."""
    if not CLIENT_NAME.fullmatch(client):
        return "must be 1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit"
    if client in _RESERVED_NAMES:
        return f"must not be {client}, which the service itself uses: choose another"
    return None


def _split(api_keys: str) -> list[str]:
    # A comma between scopes separates them, too.
    return [entry.strip() for entry in _COMMA.split(api_keys) if entry.strip()]


def _read_api_key(entry: str, env: AppEnv) -> KeyHash:
    named = _NAMED.fullmatch(entry)
    if named is None and ":" in entry:
        raise ConfigError(f"API_KEYS must read like name:key or {_EXAMPLE}: look at the brackets")
    key = named["key"].strip() if named else entry
    require_strong("a key in API_KEYS", key, env)
    digest = sha256(key.encode()).digest()
    name = named["name"].strip() if named else _name_client(digest)
    if fault := find_name_fault(name):
        raise ConfigError(f"a name in API_KEYS {fault}")
    scopes = named["scopes"] if named else None
    return KeyHash(name, digest, DEFAULT_SCOPES if scopes is None else _read_scopes(name, scopes))


def _read_scopes(client: str, value: str) -> frozenset[KeyScope]:
    """Read the scopes between the brackets."""
    try:
        scopes = read_scopes(value)
    except ValueError as e:
        raise ConfigError(f"API_KEYS: {client} has {e}") from e
    if not scopes:
        raise ConfigError(
            f"API_KEYS: {client} has no scope in its brackets: name some, or leave the brackets "
            "out for all but clients:all"
        )
    return scopes


def read_allowed_senders(
    environ: Mapping[str, str], keys: tuple[KeyHash, ...]
) -> Mapping[str, frozenset[str]]:
    """Read the senders that clients are limited to: comma-separated `client:sender|sender`.

    A client may have its keys in the database, so that a name is refused only if it is like one of
    API_KEYS.
    """
    clients = {key.client for key in keys}
    allowed: dict[str, frozenset[str]] = {}
    for entry in filter(None, map(str.strip, environ.get("ALLOWED_SENDERS", "").split(","))):
        client, colon, value = entry.partition(":")
        client = client.strip()
        senders = [sender.strip() for sender in value.split("|")]
        if not colon or client in allowed:
            raise ConfigError(
                "ALLOWED_SENDERS must read like client:sender|sender,client:sender, "
                "with each client once"
            )
        meant = None if client in clients else suggest(client, clients)
        if meant or not CLIENT_NAME.fullmatch(client):
            raise ConfigError(
                f"ALLOWED_SENDERS names {client[:64]!r}, which is no client of API_KEYS"
                f"{f': perhaps you mean {meant}' if meant else ''}"
            )
        for sender in senders:
            if not is_sender(sender):
                raise ConfigError(
                    f"ALLOWED_SENDERS: {client} has {sender[:40]!r}, which is no sender: give a "
                    "number like +46701234567, a short code, or a name of at most 11 characters"
                )
        allowed[client] = frozenset(senders)
    return allowed
