"""Authentication by the API key in `X-API-Key`, and authorization by its scopes.

Keys are compared as SHA-256 digests, all of them, in constant time: the time taken reveals neither
the matching key nor the length of a wrong one.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from hashlib import sha256
from typing import ParamSpec, TypeVar

from flask import Flask, g, request

from app.config import KeyHash
from app.config.scopes import KeyScope
from app.db.viewer import Viewer
from app.errors import KeyMissing, KeyRefused

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

    @property
    def viewer(self) -> Viewer:
        """The wall around this client, lifted by the scope `clients:all`."""
        return Viewer(self.name, sees_all=KeyScope.ALL_CLIENTS in self.scopes)


def identify_clients(app: Flask, keys: tuple[KeyHash, ...]) -> None:
    """Set `g.client` before every request: the Client, or None without a valid API key."""

    def identify() -> None:
        presented = request.headers.get("X-API-Key")
        g.client = _find_client(presented, keys) if presented else None

    app.before_request(identify)


def _find_client(presented: str, keys: tuple[KeyHash, ...]) -> Client | None:
    # WSGI decodes header bytes as Latin-1; with backslashreplace no input raises.
    digest = sha256(presented.encode("latin-1", "backslashreplace")).digest()
    matches = [key for key in keys if hmac.compare_digest(key.digest, digest)]
    return Client(matches[0].client, matches[0].scopes) if matches else None


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
                raise KeyRefused("Invalid API key")
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
