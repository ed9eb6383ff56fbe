"""How many waited how long, packed so that to add up thousands of them costs next to nothing.

Each class of waiting times (see `buckets`) has eight bytes, the lowest first, in one large number:
the sum of two such numbers is the sum of every class.  Pure.
"""

import struct
from collections import Counter
from collections.abc import Mapping

_BYTES = 8


def pack(counts: Mapping[int, int]) -> bytes:
    """The counts by class, none of them negative, as they are kept.

    >>> pack({1: 2})
    b'\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02'
    """
    number = sum(count << (8 * _BYTES * bucket) for bucket, count in counts.items())
    return number.to_bytes((number.bit_length() + 7) // 8, "little")


def read_packed(packed: bytes) -> int:
    """The large number, to be added to others."""
    return int.from_bytes(packed, "little")


def unpack(number: int) -> Counter[int]:
    """The counts by class, without those where nobody is.

    >>> unpack(read_packed(pack({1: 2, 40: 1})) + read_packed(pack({1: 3})))
    Counter({1: 5, 40: 1})
    """
    classes = -(-number.bit_length() // (8 * _BYTES))
    values = struct.unpack(f"<{classes}Q", number.to_bytes(classes * _BYTES, "little"))
    return Counter({bucket: count for bucket, count in enumerate(values) if count})
