"""The text of a key: a prefix by which people and scanners know it, 256 random bits, a checksum."""

import binascii
import secrets
from base64 import b32decode, b32encode
from zlib import crc32

PREFIX = "clarion_"
TEST_PREFIX = "clarion_test_"
_SECRET_BYTES, _CHECKSUM_BYTES = 32, 4
# Characters of secret and checksum in base 32, and those that decoding needs after them.
_CHARACTERS, _PADDING = 58, "======"
_HINT_CHARACTERS = 4


def make_key(*, is_test: bool) -> str:
    """Return a new key, such as `clarion_` and 58 lower-case letters and digits."""
    prefix = TEST_PREFIX if is_test else PREFIX
    return _write(prefix, secrets.token_bytes(_SECRET_BYTES))


def is_whole(key: str) -> bool:
    """Return True if a key has our form and its checksum is right: nothing of it is missing."""
    prefix = TEST_PREFIX if key.startswith(TEST_PREFIX) else PREFIX
    text = key.removeprefix(prefix)
    if len(text) != _CHARACTERS or not text.isascii():
        return False
    try:
        secret = b32decode(text.upper() + _PADDING)[:_SECRET_BYTES]
    except binascii.Error:
        return False
    # Written anew: the last character has two bits that decoding does not look at.
    return key == _write(prefix, secret)


def make_hint(key: str) -> str:
    """Return the beginning of a key, by which people tell keys apart.

    >>> make_hint("clarion_test_abcdefgh")
    'clarion_test_abcd…'
    """
    prefix = TEST_PREFIX if key.startswith(TEST_PREFIX) else PREFIX
    return key[: len(prefix) + _HINT_CHARACTERS] + "…"


def _write(prefix: str, secret: bytes) -> str:
    checksum = crc32(prefix.encode() + secret).to_bytes(_CHECKSUM_BYTES, "big")
    return prefix + b32encode(secret + checksum).decode("ascii").rstrip("=").lower()
