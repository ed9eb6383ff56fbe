"""Scopes: what an API key may do."""

from enum import StrEnum

from app.text.typos import suggest


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


SCOPE_SENTENCES = {
    KeyScope.SEND: "Create, quote and resend broadcasts.",
    KeyScope.SEND_TRANSACTIONAL: "Send texts without consent to marketing, at any hour.",
    KeyScope.READ: "Read broadcasts, templates, figures and texts from phones, numbers masked.",
    KeyScope.CONTROL: "Pause, resume and stop broadcasts.",
    KeyScope.READ_NUMBERS: "Read who got what, with numbers.",
    KeyScope.OPERATE: "Decide about batches that may have been sent.",
    KeyScope.MANAGE_WEBHOOKS: "Set up and replay webhooks.",
    KeyScope.READ_SUBSCRIBERS: "Read and export people, tags and opt-outs.",
    KeyScope.WRITE_SUBSCRIBERS: "Import and change people, tags and opt-outs.",
    KeyScope.OVERSEE_SUBSCRIBERS: "Erase people, lift opt-outs, read the evidence of consent.",
    KeyScope.MANAGE_TEMPLATES: "Write and archive templates.",
    KeyScope.MANAGE_PRICES: "Replace the prices.",
    KeyScope.ALL_CLIENTS: "See and control what belongs to any client.",
}
# The scopes of a key for which API_KEYS names none.
DEFAULT_SCOPES = frozenset(KeyScope) - {KeyScope.ALL_CLIENTS}
# Those that change nothing: a key for tests has no others.
TEST_SCOPES = frozenset(
    (
        KeyScope.SEND,
        KeyScope.SEND_TRANSACTIONAL,
        KeyScope.READ,
        KeyScope.READ_NUMBERS,
        KeyScope.READ_SUBSCRIBERS,
    )
)
_EVERY_SCOPE = "*"


def read_scopes(value: str) -> frozenset[KeyScope]:
    """Read scopes between blanks or commas; `*` is every scope but `clients:all`.

    Raises ValueError with a sentence about the first unknown one.
    """
    scopes: set[KeyScope] = set()
    for word in value.replace(",", " ").split():
        if word == _EVERY_SCOPE:
            scopes |= DEFAULT_SCOPES
        elif word in list(KeyScope):
            scopes.add(KeyScope(word))
        else:
            known = ", ".join(sorted(KeyScope))
            meant = suggest(word, KeyScope)
            raise ValueError(
                f"the unknown scope {word[:40]}{f', perhaps {meant}' if meant else ''}; known are "
                f"{known}"
            )
    return frozenset(scopes)
