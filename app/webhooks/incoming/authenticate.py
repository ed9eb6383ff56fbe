"""Who is let in with callbacks, and what is told when somebody is not."""

from collections.abc import Mapping
from http import HTTPStatus

from app.config import WebhookAuth
from app.errors import ClarionError, Unavailable
from app.sinch.callbacks import verify_basic, verify_signature
from app.webhooks.incoming.alarm import ThrottledLog
from app.webhooks.incoming.store import CallbackStore, NotStored

_RETRY_AFTER_S = 5


class NotFromSinch(ClarionError):
    """The callback bears no valid signature or password: nothing was stored."""

    status = HTTPStatus.UNAUTHORIZED


class CallbackAuthenticator:
    """Checks callbacks by the settings and hands those of Sinch to the intake."""

    def __init__(self, auth: WebhookAuth, intake: CallbackStore) -> None:
        self._auth, self._intake = auth, intake
        self._closed = ThrottledLog(
            "callbacks come, but neither SINCH_WEBHOOK_SECRET nor SINCH_WEBHOOK_BASIC is set"
        )
        self._forged = ThrottledLog("a callback was not Sinch's: refused")
        self._too_large = ThrottledLog("a callback was too large: refused")
        self._unstored = ThrottledLog("a callback could not be stored")

    @property
    def asks_for_password(self) -> bool:
        """Whether a callback may prove itself by HTTP Basic."""
        return self._auth.basic is not None

    def receive(self, raw: bytes, headers: Mapping[str, str], *, address: str) -> None:
        """Return once a callback is committed.  Raises NotFromSinch or Unavailable."""
        if not self._auth:
            self._closed.ring()
            raise Unavailable("Callbacks cannot be checked here", retry_after_s=_RETRY_AFTER_S)
        if not self._is_sinchs(raw, headers):
            self._forged.ring(address=address)
            raise NotFromSinch("No valid signature came with this callback")
        try:
            self._intake.store(raw)
        except NotStored as e:
            self._unstored.ring(reason=type(e.__cause__ or e).__name__)
            raise Unavailable("The event was not stored", retry_after_s=_RETRY_AFTER_S) from e

    def note_too_large(self, *, address: str) -> None:
        """A callback was refused for its size; should Sinch ever send such, somebody must know."""
        self._too_large.ring(address=address)

    def _is_sinchs(self, raw: bytes, headers: Mapping[str, str]) -> bool:
        if verify_signature(raw, headers, self._auth.secrets):
            return True
        return self._auth.basic is not None and verify_basic(headers, self._auth.basic)
