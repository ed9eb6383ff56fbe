"""Phone numbers as the Sinch API reads and writes them."""

import re

_IGNORED = str.maketrans("", "", " -()[]")
_INTERNATIONAL = re.compile(r"(?:\+|00)?([1-9][0-9]{1,14})", re.ASCII)


def digits_of(text: str) -> str | None:
    """The international digits of a number; None when it is not one.

    >>> digits_of("+1 (201) 555-0100"), digits_of("0046700000001"), digits_of("0700000001")
    ('12015550100', '46700000001', None)
    """
    match = _INTERNATIONAL.fullmatch(text.translate(_IGNORED))
    return match[1] if match else None
