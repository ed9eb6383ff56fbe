"""Scopes: what an API key may do."""

from enum import StrEnum


class KeyScope(StrEnum):
    """A permission of an API key."""

    SEND = "broadcasts:send"
    # Texts to people without their consent, at any hour.
    SEND_TRANSACTIONAL = "broadcasts:transactional"
    READ = "broadcasts:read"
    CONTROL = "broadcasts:control"
    # Messages of single recipients: personal data.
    READ_NUMBERS = "messages:read"
    OPERATE = "batches:operate"
    MANAGE_WEBHOOKS = "webhooks:manage"
    READ_SUBSCRIBERS = "subscribers:read"
    WRITE_SUBSCRIBERS = "subscribers:write"
    # Erase a person, lift a suppression.
    OVERSEE_SUBSCRIBERS = "subscribers:oversee"
    MANAGE_TEMPLATES = "templates:manage"
    MANAGE_PRICES = "prices:manage"
    # Lifts the wall between clients: see and control what belongs to any of them.
    ALL_CLIENTS = "clients:all"


# The scopes of a key for which API_KEYS names none.
DEFAULT_SCOPES = frozenset(KeyScope) - {KeyScope.ALL_CLIENTS}
