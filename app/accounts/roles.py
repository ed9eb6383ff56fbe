"""Roles of users: each may do all that the one before may."""

from enum import StrEnum


class Role(StrEnum):
    """A user's permissions on the pages; the last role has all of them."""

    VIEWER = "viewer"
    AUTHOR = "author"
    SENDER = "sender"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, other: "Role") -> bool:
        """Return True if this role may do all that the other one may.

        >>> Role.SENDER.includes(Role.VIEWER), Role.SENDER.includes(Role.OPERATOR)
        (True, False)
        """
        return _RANKS[self] >= _RANKS[other]


_RANKS = {role: rank for rank, role in enumerate(Role)}

ROLE_SENTENCES = {
    Role.VIEWER: "A viewer sees broadcasts and texts from phones; numbers are masked.",
    Role.AUTHOR: "An author sees people and their numbers, and may write drafts, answer texts and "
    "opt people out.",
    Role.SENDER: "A sender may do what an author may, and send, pause, resume and stop broadcasts.",
    Role.OPERATOR: "An operator may do what a sender may, decide what cannot be known, and let "
    "people get texts again.",
    Role.ADMIN: "An administrator may do everything.",
}
