"""Authentication of callbacks, and alarms for those that are rejected."""

from collections.abc import Mapping
from http import HTTPStatus

from app.config import WebhookAuth
from app.errors import ClarionError, Unavailable
from app.logs import log_seldom
from app.sinch.callbacks import verify_basic, verify_signature
from app.webhooks.incoming.store import CallbackStore, NotStored

_RETRY_AFTER_S = 5


class NotFromSinch(ClarionError):
    """The callback has no valid signature or password: nothing was stored."""

    status = HTTPStatus.UNAUTHORIZED


class CallbackAuthenticator:
    """Authenticates callbacks by the settings and stores those of Sinch."""

    def __init__(self, auth: WebhookAuth, store: CallbackStore) -> None:
        self._auth, self._store = auth, store

    @property
    def asks_for_password(self) -> bool:
        """True if callbacks may authenticate by HTTP Basic."""
        return self._auth.basic is not None

    def receive(self, raw: bytes, headers: Mapping[str, str], *, address: str) -> None:
        """Store a callback and return once it is committed.  Raises NotFromSinch or Unavailable."""
        if not self._auth:
            log_seldom(
                "callbacks arrive, but neither SINCH_WEBHOOK_SECRET nor SINCH_WEBHOOK_BASIC is set"
            )
            raise Unavailable("Callbacks cannot be checked here", retry_after_s=_RETRY_AFTER_S)
        if not self._is_authentic(raw, headers):
            log_seldom(
                "a callback without a valid signature or password was rejected", address=address
            )
            raise NotFromSinch("No valid signature came with this callback")
        try:
            self._store.store(raw)
        except NotStored as e:
            reason = type(e.__cause__ or e).__name__
            log_seldom("a callback could not be stored", reason=reason)
            raise Unavailable("The event was not stored", retry_after_s=_RETRY_AFTER_S) from e

    def _is_authentic(self, raw: bytes, headers: Mapping[str, str]) -> bool:
        if verify_signature(raw, headers, self._auth.secrets):
            return True
        return self._auth.basic is not None and verify_basic(headers, self._auth.basic)
