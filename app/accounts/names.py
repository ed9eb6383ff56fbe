"""Names of users: 1 to 60 characters, unique whatever their case."""

import unicodedata

from app.accounts.models import MAX_NAME
from app.errors import reject_field

# The joiners between letters of Persian and Indian names.
_JOINERS = "\u200c\u200d"


def clean_name(name: str) -> str:
    """Return a name as it is stored.  Raises BadInput for one that cannot be.

    >>> clean_name("  Anna   Norling ")
    'Anna Norling'
    """
    cleaned = _compose(name)
    if not 1 <= len(cleaned) <= MAX_NAME:
        raise reject_field("name", f"A name has 1 to {MAX_NAME} characters")
    if any(unicodedata.category(sign)[0] == "C" and sign not in _JOINERS for sign in cleaned):
        raise reject_field("name", "A name has no control or invisible characters")
    return cleaned


def fold_name(name: str) -> str:
    """Return what a name is unique by, of any text.

    >>> fold_name(" ANNA Norling") == fold_name("Anna norling")
    True
    """
    # What a database refuses to store is in no name, but may be in what is typed.
    storable = name.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")
    return _compose(_compose(storable).casefold())


def _compose(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", name).split())
