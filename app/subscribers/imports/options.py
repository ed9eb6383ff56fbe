"""What whoever imports a file says about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple, Self


class Mode(StrEnum):
    """What becomes of a file with bad rows."""

    SKIP_BAD = "skip_bad"  # the others are taken
    ALL_OR_NOTHING = "all_or_nothing"  # nothing is


class Purpose(StrEnum):
    """What its people are written to for."""

    TRANSACTIONAL = "transactional"
    MARKETING = "marketing"  # every row needs a consent


class ValueType(StrEnum):
    """What the values of an attribute are."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"


class Consent(NamedTuple):
    """Who agreed to marketing did so then, there, in these words."""

    at: datetime
    source: str
    wording: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """Said once, before the file comes.

    `columns` are titles by field; `tags` and `consent` hold for every row, a row's own consent
    before it; `types` are by attribute, without its prefix; `encoding` is what the file is in where
    it has no mark of its own.
    """

    mode: Mode = Mode.SKIP_BAD
    purpose: Purpose = Purpose.TRANSACTIONAL
    columns: Mapping[str, str] = field(default_factory=dict)
    ignore: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    country: str | None = None
    without_plus: bool = False
    check_numbers: bool = True
    encoding: str = "utf-8"
    consent: Consent | None = None
    types: Mapping[str, ValueType] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As they are kept."""
        consent = self.consent
        return {
            "mode": self.mode.value,
            "purpose": self.purpose.value,
            "columns": dict(self.columns),
            "ignore": list(self.ignore),
            "tags": list(self.tags),
            "country": self.country,
            "without_plus": self.without_plus,
            "check_numbers": self.check_numbers,
            "encoding": self.encoding,
            "consent": consent and consent._asdict() | {"at": consent.at.isoformat()},
            "types": dict(self.types),
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """From how they are kept."""
        consent = kept["consent"]
        made = {
            "mode": Mode(kept["mode"]),
            "purpose": Purpose(kept["purpose"]),
            "ignore": tuple(kept["ignore"]),
            "tags": tuple(kept["tags"]),
            "consent": consent
            and Consent(
                datetime.fromisoformat(consent["at"]), consent["source"], consent["wording"]
            ),
            "types": {name: ValueType(each) for name, each in kept["types"].items()},
        }
        return cls(**{**kept, **made})
