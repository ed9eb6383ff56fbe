"""Authentication by the API key in `X-API-Key`, and authorization by its scopes.

Keys of API_KEYS are compared as SHA-256 digests, all of them, in constant time: the time taken
reveals neither the matching key nor the length of a wrong one.  Keys of the database are found by
their digest.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from hashlib import sha256
from typing import ParamSpec, TypeVar

from flask import Flask, current_app, g, request

from app.config import KeyHash
from app.config.scopes import KeyScope
from app.db.viewer import Viewer
from app.errors import KeyMissing, KeyRefused
from app.keys.live import KeyUnusable, LiveKeys

P = ParamSpec("P")
R = TypeVar("R")

SCOPE_MARK = "required_scope"
BRAKES_MARK = "brakes"
_KEY_HINT = "Send your key in the header X-API-Key. Authorization and the URL are not read."
PUBLIC = "public"
# Of a page: it needs a user instead of a key.
PAGE = "page"


@dataclass(frozen=True, slots=True)
class Client:
    """A client of our API, and what the key that it came with may do."""

    name: str
    scopes: frozenset[KeyScope]
    # Its requests are checked, and nothing is sent.
    is_test: bool = False
    # Of a key of the database: its id, and the countries that it may send to.
    key_id: int | None = None
    countries: frozenset[str] | None = None

    @property
    def viewer(self) -> Viewer:
        """The wall around this client, lifted by the scope `clients:all`."""
        sees_all = KeyScope.ALL_CLIENTS in self.scopes
        return Viewer(self.name, sees_all, key_id=self.key_id, countries=self.countries)


def identify_clients(app: Flask, keys: tuple[KeyHash, ...]) -> None:
    """Set `g.client` before every request: the Client, or None without a valid API key.

    Only a route that needs a key asks the database: others work without it.
    """

    live_keys = LiveKeys()

    def identify() -> None:
        presented = request.headers.get("X-API-Key")
        g.client = g.key_fault = None
        if not presented:
            return
        digest = hash_presented(presented)
        g.client = _find_client(digest, keys)
        if g.client is None and _needs_key():
            try:
                g.client = _find_stored(presented, digest, live_keys)
            except KeyUnusable as e:
                g.key_fault = str(e)

    app.before_request(identify)


def _needs_key() -> bool:
    view = current_app.view_functions.get(request.endpoint or "")
    return getattr(view, SCOPE_MARK, PUBLIC) not in (PUBLIC, PAGE)


def hash_presented(secret: str) -> bytes:
    """Return the SHA-256 of a key or token as a header has it.  No input raises."""
    # WSGI decodes header bytes as Latin-1.
    return sha256(secret.encode("latin-1", "backslashreplace")).digest()


def _find_client(digest: bytes, keys: tuple[KeyHash, ...]) -> Client | None:
    matches = [key for key in keys if hmac.compare_digest(key.digest, digest)]
    return Client(matches[0].client, matches[0].scopes) if matches else None


def _find_stored(presented: str, digest: bytes, live_keys: LiveKeys) -> Client | None:
    ctx = current_app.extensions["clarion"]
    key = live_keys.find(ctx.db, ctx.clock, presented, digest, address=request.remote_addr)
    if key is None:
        return None
    return Client(key.client, key.scopes, key.is_test, key_id=key.id, countries=key.countries)


def require_api_key(
    scope: KeyScope, *, brakes: bool = False
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Require an API key with `scope`.

    With `brakes` the call stops texts: no rate limit may refuse it to a client.
    The view raises KeyMissing without a key, KeyRefused for an unknown key or a missing scope.
    """

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            if not request.headers.get("X-API-Key"):
                raise KeyMissing("API key required", hint=_KEY_HINT)
            client: Client | None = g.client
            if client is None:
                hint = {"hint": g.key_fault} if g.key_fault else {}
                raise KeyRefused("Invalid API key", **hint)
            require_scope(scope)
            return view(*args, **kwargs)

        setattr(guarded, SCOPE_MARK, scope)
        setattr(guarded, BRAKES_MARK, brakes)
        return guarded

    return decorate


def require_scope(scope: KeyScope) -> None:
    """Raise KeyRefused unless the caller has the scope."""
    if scope not in g.client.scopes:
        raise KeyRefused(f"This API key lacks the scope {scope}")


def require_scope_for(client: str | None) -> None:
    """Raise KeyRefused for another client, unless the caller has the scope `clients:all`."""
    if client not in (None, g.client.name):
        require_scope(KeyScope.ALL_CLIENTS)


def public(view: Callable[P, R]) -> Callable[P, R]:
    """Declare that a route needs no API key; a test fails for a route that declares nothing."""
    setattr(view, SCOPE_MARK, PUBLIC)
    return view
