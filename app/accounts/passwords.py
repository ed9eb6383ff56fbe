"""Passwords: 12 to 200 characters of any kind, stored as scrypt hashes."""

import unicodedata
from threading import BoundedSemaphore

from werkzeug.security import check_password_hash, generate_password_hash

from app.errors import reject_field

MIN_CHARACTERS, MAX_CHARACTERS = 12, 200
# 32 MB of memory and a twentieth of a second: N, r and p.
_METHOD = "scrypt:32768:8:1"
# A hash that no password has, for names without one: looking takes as long.
_NO_PASSWORD = f"{_METHOD}${'x' * 16}${'0' * 128}"
# Every thread might hash at once, and take all of the memory.
_hashing = BoundedSemaphore(2)


def hash_password(password: str) -> str:
    """Return the hash to store.  Call this outside of a write transaction.

    Raises BadInput if it is too short or too long.
    """
    password = _normalise(password)
    if not MIN_CHARACTERS <= len(password) <= MAX_CHARACTERS:
        raise reject_field(
            "password",
            f"A password has {MIN_CHARACTERS} to {MAX_CHARACTERS} characters, of any kind; "
            f"this one has {len(password)}",
        )
    with _hashing:
        return generate_password_hash(password, _METHOD)


def is_right_password(password: str, stored: str | None) -> bool:
    """Compare a password with a stored hash; it takes as long when there is none."""
    password = _normalise(password)
    with _hashing:
        is_equal = check_password_hash(stored or _NO_PASSWORD, password[:MAX_CHARACTERS])
    return is_equal and stored is not None and len(password) <= MAX_CHARACTERS


def _normalise(password: str) -> str:
    """Compose its characters: keyboards write an å as one or as two.  No input raises."""
    return unicodedata.normalize("NFC", password.encode("utf-8", "replace").decode("utf-8"))
