"""A set of people in a kilobyte: enough to tell later about how much of it has changed.  Pure.

Kept are how many they are and the lowest of their hashes.  Up to 256 people are compared exactly;
of more, the share that two sets have in common is estimated from the lowest hashes of both (Broder,
"On the resemblance and containment of documents", 1997), to about a percent where few have changed.
"""

import heapq
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass

_KEPT = 256
_HASH_BYTES = 4


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """So many people, and the lowest hashes of theirs in order."""

    people: int
    lowest: tuple[int, ...]

    @classmethod
    def of(cls, digests: Iterable[bytes]) -> "Fingerprint":
        """The fingerprint of people by their keyed hashes, each once.

        >>> Fingerprint.of([bytes([9] * 32), bytes([1] * 32)])
        Fingerprint(people=2, lowest=(16843009, 151587081))
        """
        hashes = [int.from_bytes(digest[:_HASH_BYTES], "big") for digest in digests]
        return cls(len(hashes), tuple(heapq.nsmallest(_KEPT, hashes)))

    def share_changed(self, other: "Fingerprint") -> float:
        """The share of people, 0 to 1, that is in one of the two and not in the other.

        >>> ours = Fingerprint(3, (1, 2, 3))
        >>> ours.share_changed(Fingerprint(3, (1, 2, 9)))
        0.5
        """
        union = sorted({*self.lowest, *other.lowest})
        if max(self.people, other.people) > _KEPT:
            union = union[:_KEPT]
        if not union:
            return 0.0
        common = set(self.lowest) & set(other.lowest)
        estimated = 1 - sum(each in common for each in union) / len(union)
        # As many as it grew or shrank by have changed for certain.
        certain = abs(self.people - other.people) / max(self.people, other.people)
        return max(estimated, certain)

    def pack(self) -> str:
        """It as text for a token."""
        packed = struct.pack(f">I{len(self.lowest)}I", self.people, *self.lowest)
        return urlsafe_b64encode(packed).decode()

    @classmethod
    def unpack(cls, packed: str) -> "Fingerprint":
        """What pack gave."""
        raw = urlsafe_b64decode(packed)
        people, *lowest = struct.unpack(f">{len(raw) // 4}I", raw)
        return cls(people, tuple(lowest))
