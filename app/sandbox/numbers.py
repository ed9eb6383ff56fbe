"""Phone numbers as the Sinch API reads and writes them, and addresses of this machine."""

import ipaddress
import re

_IGNORED = str.maketrans("", "", " -()[]")
_INTERNATIONAL = re.compile(r"(?:\+|00)?([1-9][0-9]{1,14})", re.ASCII)


def parse_digits(text: str) -> str | None:
    """Return the international digits of a number; None when the text is not a number.

    >>> parse_digits("+1 (201) 555-0100"), parse_digits("0046700000001")
    ('12015550100', '46700000001')
    >>> parse_digits("0700000001") is None
    True
    """
    match = _INTERNATIONAL.fullmatch(text.translate(_IGNORED))
    return match[1] if match else None


def is_loopback(host: str) -> bool:
    """Return True if a host name or address is this machine's own.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "evil.example")]
    [True, True, True, False]
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
