"""Latency buckets, each 10 % wider than the last: percentiles are exact to within 5 %."""

import math
import struct
from collections import Counter
from collections.abc import Mapping

_SMALLEST_S = 0.1
_GROWTH = 1.1
# Longer waits share the last bucket.
_LONGEST_S = 7 * 86_400.0
# Stored in place of a missing code or bucket.
NONE = -1
_BYTES = 8


def latency_bucket(seconds: float) -> int:
    """Return the bucket of a waiting time.  Clocks that disagree may make it negative: bucket 0.

    >>> latency_bucket(-3), latency_bucket(0.1), latency_bucket(10), latency_bucket(1e9)
    (0, 0, 48, 163)
    """
    if seconds <= _SMALLEST_S:
        return 0
    return int(math.log(min(seconds, _LONGEST_S) / _SMALLEST_S) / math.log(_GROWTH))


def seconds_of(bucket: int) -> float:
    """Return the middle of a bucket, in seconds."""
    return float(_SMALLEST_S * _GROWTH ** (bucket + 0.5))


def percentile(counts: Mapping[int, int], share: float) -> float | None:
    """Return the seconds that this share of all waits did not exceed; None without any.

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


def pack(counts: Mapping[int, int]) -> bytes:
    """Pack counts by bucket, none negative, into one large little-endian integer.

    >>> pack({1: 2})
    b'\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02'
    """
    number = sum(count << (8 * _BYTES * bucket) for bucket, count in counts.items())
    return number.to_bytes((number.bit_length() + 7) // 8, "little")


def read_packed(packed: bytes) -> int:
    """Return the large integer.  Sums of such integers are sums of their counts."""
    return int.from_bytes(packed, "little")


def unpack(number: int) -> Counter[int]:
    """Return the counts by bucket, zeros left out.

    >>> unpack(read_packed(pack({1: 2, 40: 1})) + read_packed(pack({1: 3})))
    Counter({1: 5, 40: 1})
    """
    buckets = -(-number.bit_length() // (8 * _BYTES))
    values = struct.unpack(f"<{buckets}Q", number.to_bytes(buckets * _BYTES, "little"))
    return Counter({bucket: count for bucket, count in enumerate(values) if count})
