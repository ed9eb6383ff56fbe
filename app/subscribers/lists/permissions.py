"""Columns that say who may be texted: a "no" in a file never becomes a yes.

Most are recognised by their header: a person agrees to texts ("SMS consent"), has left
("Unsubscribed at"), or has a status.  Where a header asks in other words ("Would you like to
receive texts?"), a "no" counts.  In any other column, except those about other media, an
unmistakable cell such as "unsubscribed" counts.  A column stays the attribute that it is.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from unicodedata import normalize

from app.csv_cells import simplify_header
from app.subscribers.lists.columns import WORDS, simplify_cell

_HEADERS = {name: frozenset(words) for name, words in WORDS["permissions"].items()}
_CELLS = {name: frozenset(words) for name, words in WORDS["cells"].items()}
_STAYS = frozenset((*_CELLS["false"], *_CELLS["none"], *_CELLS["agreed"]))
_AGREES = frozenset((*_CELLS["true"], *_CELLS["agreed"]))
_FIRST_UNSPACED = "\u0e00"
# Scripts without blanks between words have none between a word and its neighbours, either.
_LEFT = re.compile(
    rf"(?:^|_)(?:{'|'.join(sorted(_HEADERS['left']))})(?:_|$)|^stop$"
    rf"|{'|'.join(word for word in sorted(_HEADERS['left']) if word >= _FIRST_UNSPACED)}"
)
_WORDS = "|".join(
    simplify_header(word).replace("_", r"[\W_]*") for word in sorted(_CELLS["unmistakable"])
)
_UNMISTAKABLE = re.compile(_WORDS, re.IGNORECASE)
# One of the words anywhere in lines whose letters are folded.
_WITHIN = re.compile(rf"(?<![^\W_])(?:{_WORDS})(?![^\W_])")
_ACCENTS = re.compile("[\u0300-\u036f]+")
_MAX_UNMISTAKABLE = 24
_BETWEEN_TAGS = frozenset(",;|")
_STARTS = {start for word in _CELLS["unmistakable"] for start in (word[0], word[0].upper())}
_ASKS = re.compile(rf"(?<![a-z])(?:{'|'.join(sorted(_HEADERS['asks']))})(?![a-z])")
# The register of calls is that of texts, too.
_DO_NOT_CALL = ("do_not_call", "donotcall")
# A day of databases that is none, or no time at all.
_NO_DAY = re.compile(r"[0_]*")


class _Kind(StrEnum):
    AGREED = "agreed"
    LEFT = "left"
    GONE = "gone"  # the same, but an empty cell or a "no" says nothing
    STATUS = "status"
    ACTIVE = "active"  # only a "no" counts: of an opt-out list, an active row is one in force
    CHANNEL = "channel"  # of what the person prefers, other media alone are no yes to texts
    ASKED = "asked"  # only a "no" counts, and an unmistakable word
    ANY = "any"  # only an unmistakable word counts


class Permission(IntEnum):
    """Permission by a row to text its person; of several answers the greatest counts."""

    GIVEN = 1
    NOT_GIVEN = 2  # nothing says that the person agrees
    DENIED = 3  # no marketing
    LEFT = 4  # no texts at all


REASONS: Mapping[Permission, str] = {
    Permission.NOT_GIVEN: "This column does not say that the person agrees to marketing.",
    Permission.DENIED: "By this column the person does not agree to marketing.",
    Permission.LEFT: "By this column the person has left: leave the row out, or ignore the column.",
}
NOT_LEFT = "By the column {} this person has not left."


@dataclass(frozen=True, slots=True)
class PermissionColumns:
    """The columns of a file that say who may be texted, by their index."""

    kinds: Mapping[int, _Kind]

    def may_deny(self, text: str) -> bool:
        """Return False if no cell of these lines denies anything.

        Lines whose columns all are any columns need no splitting into cells to tell that.
        """
        if any(kind is not _Kind.ANY for kind in self.kinds.values()):
            return True
        folded = text if text.isascii() else _ACCENTS.sub("", normalize("NFKD", text))
        return _WITHIN.search(folded.casefold()) is not None

    def read(self, cells: Sequence[str]) -> tuple[Permission, int] | None:
        """Return what a row says, and the column that says so; None if no column says anything."""
        answers = [
            (answer, -index)
            for index, kind in self.kinds.items()
            if (answer := _read(kind, cells[index] if index < len(cells) else ""))
        ]
        if not answers:
            return None
        answer, index = max(answers)
        return answer, -index


def find_permissions(headers: Sequence[str], fields: Sequence[str | None]) -> PermissionColumns:
    """Return how each column is read, among those whose field is given.

    >>> find_permissions(["Accepts SMS Marketing", "Accepts Email Marketing"], ["a", "b"]).kinds
    {0: <_Kind.AGREED: 'agreed'>}
    """
    kinds = (
        (index, _find_kind(simplify_header(header)))
        for index, (header, field) in enumerate(zip(headers, fields, strict=True))
        if field is not None
    )
    return PermissionColumns({index: kind for index, kind in kinds if kind})


def _find_kind(header: str) -> _Kind | None:
    words = set(header.split("_"))
    is_ours = not words.isdisjoint(_HEADERS["ours"])
    is_of_others = not is_ours and not words.isdisjoint(_HEADERS["other_media"])
    if not words.isdisjoint(_HEADERS["about"]) or (is_of_others and header not in _DO_NOT_CALL):
        return None
    if _LEFT.search(header):
        return _Kind.LEFT if words.isdisjoint(_HEADERS["reasons"]) else _Kind.GONE
    if all(not words.isdisjoint(_HEADERS[name]) for name in ("prefers", "channels")):
        return _Kind.CHANNEL
    if _remove(header, "qualifiers", "days") in _HEADERS["left_alone"]:
        return _Kind.GONE
    rest = _remove(header, "qualifiers", "other_media")
    if rest in _HEADERS["status"] or (rest == "state" and header != rest):
        return _Kind.STATUS
    if header in WORDS["headers"]["active"]:
        return _Kind.ACTIVE
    if {header, rest.removesuffix("_status").removesuffix("_state")} & _HEADERS["agreed"]:
        return _Kind.AGREED
    if header in ("sms_marketing", "marketing_sms", "marketing"):
        return _Kind.AGREED
    if is_ours and not rest:
        return _Kind.STATUS
    asks = _ASKS.search(header) and words.isdisjoint(_HEADERS["counts"])
    return _Kind.ASKED if asks or not words.isdisjoint(_HEADERS["agreed"]) else _Kind.ANY


def _remove(header: str, *names: str) -> str:
    """Return a header without the words of these lists."""
    return "_".join(
        word for word in header.split("_") if not any(word in _HEADERS[name] for name in names)
    )


def _read(kind: _Kind, cell: str) -> Permission | None:
    if kind is _Kind.ANY:
        return Permission.LEFT if _is_unmistakable(cell.strip()) else None
    word = simplify_cell(cell)
    if kind in (_Kind.ASKED, _Kind.CHANNEL):
        if _is_unmistakable(cell.strip()):
            return Permission.LEFT
        if _is_no(word):
            return Permission.DENIED
        is_open = kind is _Kind.CHANNEL and _names_others_alone(word)
        return Permission.NOT_GIVEN if is_open else None
    if kind is _Kind.ACTIVE:
        return Permission.LEFT if word in _CELLS["false"] else None
    if kind in (_Kind.LEFT, _Kind.GONE):
        stays = _NO_DAY.fullmatch(word) or word in _STAYS
        given = Permission.GIVEN if kind is _Kind.LEFT else None
        return given if stays else Permission.LEFT
    if word in _CELLS["left"]:
        return Permission.LEFT
    if _is_no(word):
        return Permission.DENIED
    if _is_yes(word) if kind is _Kind.AGREED else word in _CELLS["subscribed"]:
        return Permission.GIVEN
    is_open = kind is _Kind.AGREED or word in _CELLS["pending"]
    return Permission.NOT_GIVEN if is_open else None


def _names_others_alone(word: str) -> bool:
    """Return True for a choice of other media than texts: "Email", "Post or call"."""
    words = {*word.split("_"), word.replace("_", "")}  # "WhatsApp" is split at its second capital
    return words.isdisjoint(_HEADERS["ours"]) and not words.isdisjoint(_HEADERS["other_media"])


def _is_no(word: str) -> bool:
    """Return True for a "no", also with thanks: "Non merci"."""
    return word in _CELLS["left"] or word in _CELLS["denied"] or _answers(word, _CELLS["false"])


def _is_yes(word: str) -> bool:
    return word in _AGREES or _answers(word, _CELLS["true"])


def _answers(word: str, answers: Collection[str]) -> bool:
    """Return True for one of these answers with thanks."""
    first, *others = word.split("_")
    return first in answers and _CELLS["thanks"] >= set(others)


def _is_unmistakable(cell: str) -> bool:
    """Return True if a cell of any column, or a tag in it, says that the person has left.

    Each attribute of each row is looked at: most fail at their first letter.
    """
    if _BETWEEN_TAGS.isdisjoint(cell):
        return _is_unmistakable_word(cell)
    return any(_is_unmistakable_word(word.strip()) for word in re.split("[,;|]", cell))


def _is_unmistakable_word(word: str) -> bool:
    if len(word) > _MAX_UNMISTAKABLE or word[:1] not in _STARTS:
        return False
    return bool(_UNMISTAKABLE.fullmatch(word if word.isascii() else simplify_header(word)))
