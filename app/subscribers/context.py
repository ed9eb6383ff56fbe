"""What everything about people stands on."""

import hmac
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache

from app.clock import Clock
from app.config import SubscriberRules
from app.db.engine import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberContext:
    """The database of people, its clock, its rules, and the key of their hashes."""

    db: Database
    rules: SubscriberRules
    phone_hash_key: bytes
    clock: Clock = field(default_factory=Clock)

    def now(self) -> datetime:
        """The time of day, aware UTC."""
        return self.clock.now()

    def hash_phone(self, phone: str) -> bytes:
        """A number's keyed hash (HMAC-SHA256): without the key nobody finds it by trying."""
        begun = _begin_hash(self.phone_hash_key).copy()
        begun.update(phone.encode())
        return begun.digest()


@lru_cache(maxsize=16)
def _begin_hash(key: bytes) -> hmac.HMAC:
    """A hash with nothing in it yet but the key: to begin with that takes longer than the rest."""
    return hmac.new(key, digestmod="sha256")
