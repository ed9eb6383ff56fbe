"""What everything about people stands on."""

import hmac
from dataclasses import dataclass, field
from datetime import datetime

from app.clock import Clock
from app.config import PeopleRules
from app.db.engine import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """The database of people, its clock, its rules, and the key of their hashes."""

    db: Database
    rules: PeopleRules
    digest_key: bytes
    clock: Clock = field(default_factory=Clock)

    def now(self) -> datetime:
        """The time of day, aware UTC."""
        return self.clock.now()

    def digest(self, phone: str) -> bytes:
        """A number's keyed hash (HMAC-SHA256): without the key nobody finds the number by trying."""
        return hmac.digest(self.digest_key, phone.encode(), "sha256")
