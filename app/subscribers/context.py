"""The SubscriberContext that functions on subscribers take."""

import hmac
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from app.clock import Clock
from app.config import SubscriberRules
from app.db.engine import Database
from app.db.viewer import NO_WALL, Viewer


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberContext:
    """The database, rules and clock, and the key of phone hashes."""

    db: Database
    rules: SubscriberRules
    phone_hash_key: bytes
    clock: Clock = field(default_factory=Clock)
    viewer: Viewer = NO_WALL

    def now(self) -> datetime:
        """Return the current time, aware UTC."""
        return self.clock.now()

    def hash_phone(self, phone: str) -> bytes:
        """Return a number's HMAC-SHA256, which cannot be guessed without the key."""
        keyed = _start_hash(self.phone_hash_key).copy()
        keyed.update(phone.encode())
        return keyed.digest()


@lru_cache(maxsize=16)
def _start_hash(key: bytes) -> hmac.HMAC:
    """Return a hash of the key alone, whose set-up takes longer than hashing a number."""
    return hmac.new(key, digestmod="sha256")
