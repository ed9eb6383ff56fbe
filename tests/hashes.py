"""Hashes of passwords without the work: a tenth of a second each, as the service makes them."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_scrypt = hashlib.scrypt


def _hash_quickly(password: bytes, **parameters: Any) -> bytes:
    return _scrypt(password, **parameters | {"n": 2})


@contextmanager
def quick_hashes() -> Iterator[None]:
    """Let the library do a fraction of the work that it is told to do."""
    hashlib.scrypt = _hash_quickly  # type: ignore[assignment]
    yield
    hashlib.scrypt = _scrypt


@contextmanager
def real_hashes() -> Iterator[None]:
    """Let the library do all of its work, where the work is what is tested."""
    hashlib.scrypt = _scrypt
    yield
    hashlib.scrypt = _hash_quickly  # type: ignore[assignment]
