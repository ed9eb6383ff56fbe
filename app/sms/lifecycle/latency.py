"""Waiting times in classes that grow by a tenth: sums of them give percentiles to within 5 %."""

import math
import struct
from collections import Counter
from collections.abc import Mapping

_SMALLEST_S = 0.1
_GROWTH = 1.1
# Beyond a week nobody asks how late.
_LONGEST_S = 7 * 86_400.0
NONE = -1


def latency_bucket(seconds: float) -> int:
    """The class of a waiting time; clocks that disagree may make it negative, which is class 0.

    >>> latency_bucket(-3), latency_bucket(0.1), latency_bucket(10), latency_bucket(1e9)
    (0, 0, 48, 163)
    """
    if seconds <= _SMALLEST_S:
        return 0
    return int(math.log(min(seconds, _LONGEST_S) / _SMALLEST_S) / math.log(_GROWTH))


def seconds_of(bucket: int) -> float:
    """The middle of a class, in seconds."""
    return float(_SMALLEST_S * _GROWTH ** (bucket + 0.5))


def percentile(counts: Mapping[int, int], share: float) -> float | None:
    """The waiting time that this share of all did not exceed; None without any.

    >>> percentile({0: 1, 48: 99}, 0.5)
    10.18
    """
    total = sum(counts.values())
    passed = 0
    for bucket in sorted(counts):
        passed += counts[bucket]
        if passed >= share * total:
            return round(seconds_of(bucket), 2)
    return None


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
