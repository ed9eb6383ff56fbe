"""Warnings of senders that carriers do not take.  Pure."""

from collections.abc import Iterable

from app.phone.country_names import name_country
from app.phone.e164 import can_be_answered

# Where carriers take only numbers as senders: they replace a name, or reject the text.
_NO_NAMES = "AR AS BE BR CA CL CN CO CR EC GU HU KR MP MX MY NZ PR TW US UY VE VI ZA"


def list_sender_warnings(sender: str, countries: Iterable[str]) -> list[str]:
    """Warn of a name as sender to countries that take none."""
    refusing = sorted({*_NO_NAMES.split()}.intersection(countries))
    if can_be_answered(sender) or not refusing:
        return []
    named = ", ".join(sorted(map(name_country, refusing)))
    warning = f"Carriers in {named} take only numbers as senders: they replace {sender}, or reject"
    return [f"{warning} the text. Send from a number there."]
